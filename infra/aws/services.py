"""The models: two slots each, every one a service of its own behind an inner load balancer.

A slot serves one version, named by its image's tag; `none` empties it. The router moves traffic between the slots of a
model: that is visionloop's own blue/green, with canary, shadow, A/B and guardrails. Within a
slot ECS replaces tasks one by one.
"""

from __future__ import annotations

from aws_cdk import CfnCondition, CfnParameter, Duration, Fn, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from aws_cdk import aws_route53 as dns
from aws_cdk import aws_route53_targets as dns_targets
from network import HTTP, SERVICE
from options import NO_IMAGE, SLOTS, Size, models
from tasks import DOMAIN, Run, Tasks

CPU_PERCENT = 60
ZONE = f"models.{DOMAIN}"


class Services:
    """
    Attributes:
        targets: target group of each slot, by `MODEL-SLOT`.
        inner: the load balancer before them. It gives a request to the task with the fewest.
    """

    def __init__(self, tasks: Tasks, size: Size, settings: dict[str, str]) -> None:
        self._tasks, self._size, self._settings = tasks, size, settings
        stack, network = tasks.stack, tasks.network
        self.inner = balancing.ApplicationLoadBalancer(
            stack, "Inner", vpc=network.vpc, internet_facing=False, security_group=network.groups["inner"],
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            drop_invalid_header_fields=True, deletion_protection=True, idle_timeout=Duration.seconds(120),
        )  # fmt: skip
        self.inner.log_access_logs(tasks.storage.logs, "inner")
        # Without TLS: a certificate for an inner name needs a private authority, some $400 a month. Security groups let
        # only routers and guard in.
        self._listener = self.inner.add_listener(
            "Http", port=HTTP, protocol=balancing.ApplicationProtocol.HTTP, open=False,
            default_action=balancing.ListenerAction.fixed_response(404, message_body="no such slot"),
        )  # fmt: skip
        zone = dns.PrivateHostedZone(stack, "ModelsZone", zone_name=ZONE, vpc=network.vpc)
        target = dns.RecordTarget.from_alias(dns_targets.LoadBalancerTarget(self.inner))
        dns.ARecord(stack, "ModelsRecord", zone=zone, record_name=f"*.{ZONE}", target=target)
        self.targets = {
            f"{model}-{slot}": self._slot(model, slot, 1 + 2 * number + SLOTS.index(slot))
            for number, model in enumerate(models())
            for slot in SLOTS
        }

    def _slot(self, model: str, slot: str, priority: int) -> balancing.ApplicationTargetGroup:
        stack, tier = self._tasks.stack, self._size.service
        name = f"{model.replace('_', '-')}-{slot}"
        id_ = "".join(part.capitalize() for part in name.split("-"))
        tag = CfnParameter(
            stack, f"{id_}Tag", default=NO_IMAGE, allowed_pattern="[a-zA-Z0-9._-]+",
            description=f"tag of the image visionloop/{model} that slot {slot} serves; {NO_IMAGE}: the slot is empty",
        )  # fmt: skip
        filled = CfnCondition(
            stack, f"{id_}Filled", expression=Fn.condition_not(Fn.condition_equals(tag.value_as_string, NO_IMAGE))
        )
        run = Run("service", self._tasks.image(model, tag.value_as_string), SERVICE, "/readyz", settings=self._settings)
        service = self._tasks.service(
            name, self._tasks.define(name, tier, [run]), "services", desired_count=_if(filled, tier.least),
            health_check_grace_period=Duration.minutes(5),
        )  # fmt: skip
        group = balancing.ApplicationTargetGroup(
            stack, f"{id_}Targets", vpc=self._tasks.network.vpc, port=SERVICE, targets=[service],
            protocol=balancing.ApplicationProtocol.HTTP, deregistration_delay=Duration.seconds(90),
            load_balancing_algorithm_type=balancing.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS,
            health_check=balancing.HealthCheck(
                path="/readyz", interval=Duration.seconds(10), healthy_threshold_count=2
            ),
        )  # fmt: skip
        balancing.ApplicationListenerRule(
            stack, f"{id_}Rule", listener=self._listener, priority=priority,
            conditions=[balancing.ListenerCondition.host_headers([f"{name}.{ZONE}"])],
            action=balancing.ListenerAction.forward([group]),
        )  # fmt: skip
        scaling = service.auto_scale_task_count(
            min_capacity=_if(filled, tier.least), max_capacity=_if(filled, tier.most)
        )
        pause = Duration.minutes(5)
        scaling.scale_on_cpu_utilization(
            "Cpu",
            target_utilization_percent=CPU_PERCENT,
            scale_in_cooldown=pause,
            scale_out_cooldown=Duration.minutes(1),
        )
        scaling.scale_on_request_count(
            "Requests", requests_per_target=self._size.requests_per_task, target_group=group, scale_in_cooldown=pause,
            scale_out_cooldown=Duration.minutes(1),
        )  # fmt: skip
        return group


def _if(condition: CfnCondition, count: int) -> int:
    return Token.as_number(Fn.condition_if(condition.logical_id, count, 0))
