"""What people and callers reach: one load balancer with TLS and a firewall, routers and the web application behind it.

Both are replaced by blue/green of ECS: new tasks start beside the old ones and take all traffic at once; the old ones
stay for BAKE minutes, in which an alarm brings the traffic back.
"""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_certificatemanager as certificates
from aws_cdk import aws_cloudwatch as watch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from network import HTTPS, ROUTER, WEB
from options import Size, Tier
from tasks import Run, Tasks

BAKE = Duration.minutes(10)
CPU_PERCENT = 60


class Edge:
    """
    Attributes:
        balancer: the public one.
        targets: the blue target groups of `router` and `web`.
        alarms: too many errors of each; they also end a deployment.
    """

    def __init__(
        self, tasks: Tasks, size: Size, image: ecs.ContainerImage, settings: dict[str, str], *, domain: str,
        certificate: str,
    ) -> None:  # fmt: skip
        self._tasks = tasks
        stack, network = tasks.stack, tasks.network
        self.balancer = balancing.ApplicationLoadBalancer(
            stack, "Balancer", vpc=network.vpc, internet_facing=True, security_group=network.groups["balancer"],
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC), drop_invalid_header_fields=True,
            deletion_protection=True,
            idle_timeout=Duration.seconds(120),  # longer than request_timeout_s
        )  # fmt: skip
        self.balancer.log_access_logs(tasks.storage.logs, "balancer")
        self.balancer.add_redirect(open=False)
        self._listener = self.balancer.add_listener(
            "Https", port=HTTPS, protocol=balancing.ApplicationProtocol.HTTPS, open=False,
            ssl_policy=balancing.SslPolicy.RECOMMENDED_TLS,
            certificates=[certificates.Certificate.from_certificate_arn(stack, "TlsCertificate", certificate)],
            default_action=balancing.ListenerAction.fixed_response(404, message_body="no such host"),
        )  # fmt: skip
        self.targets: dict[str, balancing.ApplicationTargetGroup] = {}
        self.alarms: list[watch.Alarm] = []
        router = Run("router", image, ROUTER, "/healthz", ["python", "-m", "serving.launchers.router"], settings)
        self._add("router", size.router, [router], f"api.{domain}", 1)
        # The web application asks the router at its own address, so its task has one.
        pages = Run("web", image, WEB, "/healthz", ["python", "-m", "serving.launchers.web"], settings)
        self._add("web", size.web, [pages, router], domain, 2)

    def _add(self, name: str, tier: Tier, runs: list[Run], host: str, priority: int) -> None:
        stack = self._tasks.stack
        blue, green = (self._group(f"{name}{colour}", runs[0].port) for colour in ("Blue", "Green"))
        rule = balancing.ApplicationListenerRule(
            stack, f"{name}Rule", listener=self._listener, priority=priority,
            conditions=[balancing.ListenerCondition.host_headers([host])],
            action=balancing.ListenerAction.weighted_forward([
                balancing.WeightedTargetGroup(target_group=blue, weight=100),
                balancing.WeightedTargetGroup(target_group=green, weight=0),
            ]),
        )  # fmt: skip
        alarm = self._alarm(name, blue, green)
        service = self._tasks.service(
            name, self._tasks.define(name, tier, runs), "edge", desired_count=tier.least,
            health_check_grace_period=Duration.minutes(3), deployment_strategy=ecs.DeploymentStrategy.BLUE_GREEN,
            bake_time=BAKE, deployment_alarms=ecs.DeploymentAlarmConfig(
                alarm_names=[alarm.alarm_name], behavior=ecs.AlarmBehavior.ROLLBACK_ON_ALARM
            ),
        )  # fmt: skip
        target = service.load_balancer_target(
            container_name=runs[0].name, container_port=runs[0].port,
            alternate_target=ecs.AlternateTarget(
                f"{name}Alternate", alternate_target_group=green,
                production_listener=ecs.ListenerRuleConfiguration.application_listener_rule(rule),
            ),
        )  # fmt: skip
        target.attach_to_application_target_group(blue)
        # Not on requests: they are counted by target group, and each deployment changes which group has them.
        service.auto_scale_task_count(min_capacity=tier.least, max_capacity=tier.most).scale_on_cpu_utilization(
            "Cpu", target_utilization_percent=CPU_PERCENT, scale_in_cooldown=Duration.minutes(5),
            scale_out_cooldown=Duration.minutes(1),
        )  # fmt: skip
        self.targets[name] = blue
        self.alarms.append(alarm)

    def _group(self, name: str, port: int) -> balancing.ApplicationTargetGroup:
        return balancing.ApplicationTargetGroup(
            self._tasks.stack, name, vpc=self._tasks.network.vpc, port=port,
            protocol=balancing.ApplicationProtocol.HTTP, target_type=balancing.TargetType.IP,
            deregistration_delay=Duration.seconds(90),
            health_check=balancing.HealthCheck(
                path="/healthz", interval=Duration.seconds(10), healthy_threshold_count=2
            ),
        )  # fmt: skip

    def _alarm(self, name: str, *groups: balancing.ApplicationTargetGroup) -> watch.Alarm:
        """More than 5 % of the answers are errors of ours."""
        period, metrics = Duration.minutes(1), {}
        for number, group in enumerate(groups):
            options = {"period": period, "statistic": "Sum"}
            errors = balancing.HttpCodeTarget.TARGET_5XX_COUNT
            metrics[f"e{number}"] = group.metrics.http_code_target(errors, **options)
            metrics[f"n{number}"] = group.metrics.request_count(**options)
        share = watch.MathExpression(
            expression="100 * (FILL(e0, 0) + FILL(e1, 0)) / (FILL(n0, 0) + FILL(n1, 0) + 1)", using_metrics=metrics,
            label=f"errors of {name}, %", period=period,
        )  # fmt: skip
        return share.create_alarm(
            self._tasks.stack, f"{name}Errors", alarm_name=f"visionloop-{name}-errors", threshold=5,
            evaluation_periods=3, datapoints_to_alarm=2, treat_missing_data=watch.TreatMissingData.NOT_BREACHING,
            alarm_description=f"{name}: more than 5 % of the answers are 5xx",
        )  # fmt: skip
