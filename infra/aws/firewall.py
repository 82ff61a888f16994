"""The firewall before the public load balancer."""

from __future__ import annotations

from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as waf
from aws_cdk.aws_elasticloadbalancingv2 import ApplicationLoadBalancer
from constructs import Construct
from options import Size
from tasks import retention

REQUESTS = 6000
"""Of one address in five minutes. Quotas of keys are the router's own; this stops floods."""
MANAGED = {"AWSManagedRulesAmazonIpReputationList": (), "AWSManagedRulesKnownBadInputsRuleSet": (),
           "AWSManagedRulesCommonRuleSet": ("SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY",
                                            "GenericRFI_BODY")}  # fmt: skip
"""Amazon's rules. Those in brackets only count: bodies are pictures and videos, of any size and any bytes."""


def firewall(scope: Construct, size: Size, key: kms.IKey, balancer: ApplicationLoadBalancer) -> waf.CfnWebACL:
    """A web ACL of Amazon's rules and a limit for each address, with a log."""
    rules = [_managed(name, counted, number) for number, (name, counted) in enumerate(MANAGED.items())]
    flood = waf.CfnWebACL.RateBasedStatementProperty(aggregate_key_type="IP", limit=REQUESTS, evaluation_window_sec=300)
    rules.append(
        waf.CfnWebACL.RuleProperty(
            name="flood", priority=len(rules), statement=waf.CfnWebACL.StatementProperty(rate_based_statement=flood),
            action=waf.CfnWebACL.RuleActionProperty(block={}), visibility_config=_counted("flood"),
        )
    )  # fmt: skip
    acl = waf.CfnWebACL(
        scope, "Firewall", scope="REGIONAL", default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
        rules=rules, visibility_config=_counted("firewall"),
    )  # fmt: skip
    waf.CfnWebACLAssociation(
        scope, "FirewallBalancer", resource_arn=balancer.load_balancer_arn, web_acl_arn=acl.attr_arn
    )
    log = logs.LogGroup(  # the name must begin like this
        scope, "FirewallLog", log_group_name="aws-waf-logs-visionloop", retention=retention(size), encryption_key=key
    )
    secret = [waf.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": name})
              for name in ("x-api-key", "authorization", "cookie")]  # fmt: skip
    waf.CfnLoggingConfiguration(
        scope, "FirewallLogging", resource_arn=acl.attr_arn, log_destination_configs=[log.log_group_arn],
        redacted_fields=secret,
    )  # fmt: skip
    return acl


def _managed(name: str, counted: tuple[str, ...], priority: int) -> waf.CfnWebACL.RuleProperty:
    overrides = [
        waf.CfnWebACL.RuleActionOverrideProperty(
            name=rule, action_to_use=waf.CfnWebACL.RuleActionProperty(count={})
        )
        for rule in counted
    ]  # fmt: skip
    group = waf.CfnWebACL.ManagedRuleGroupStatementProperty(
        vendor_name="AWS", name=name, rule_action_overrides=overrides or None
    )
    return waf.CfnWebACL.RuleProperty(
        name=name, priority=priority, override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
        statement=waf.CfnWebACL.StatementProperty(managed_rule_group_statement=group), visibility_config=_counted(name),
    )  # fmt: skip


def _counted(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, sampled_requests_enabled=False, metric_name=name
    )
