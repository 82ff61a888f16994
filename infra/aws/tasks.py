"""How every container runs: what it may use, what it is told, how its health is asked, and where its log goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct
from options import Size, Tier

if TYPE_CHECKING:
    from database import Database
    from network import Network
    from storage import Storage

DOMAIN = "visionloop.internal"
"""Names inside the network: mlflow, prefect; and MODEL-SLOT.models."""
HOME = "/srv/visionloop"
"""Where `var` and the project folder of operations are: a shared file system."""
USER = "10001"
"""User and group of the containers, and owner of the shared folder."""
_TMP, _HOME = "tmp", "home"
_BEFORE = Tier(64, 256)
STOP_S = 90
"""A task that takes longer to end is killed. Router and services finish their requests: 60 s. ECS's most is 120."""


def retention(size: Size) -> logs.RetentionDays:
    """How long logs are kept."""
    return {30: logs.RetentionDays.ONE_MONTH, 90: logs.RetentionDays.THREE_MONTHS}[size.log_days]


@dataclass(frozen=True)
class Run:
    """A container that stays.

    Attributes:
        command: None leaves it to the image.
        port: where it listens.
        health: path that answers 200 there.
        settings: environment variables.
    """

    name: str
    image: ecs.ContainerImage
    port: int
    health: str
    command: Sequence[str] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Before:
    """A command that ends before the others of its task start."""

    image: ecs.ContainerImage
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Tasks:
    """Makes task definitions and services of one cluster."""

    def __init__(
        self, stack: Construct, size: Size, key: kms.IKey, network: Network, storage: Storage, database: Database
    ) -> None:
        self.stack, self.size, self.key = stack, size, key
        self.network, self.storage, self.database = network, storage, database
        # As others see them: a right of a role of this stack must not be written into the other one's key.
        self._password, self._encryption_key = (
            secrets.Secret.from_secret_attributes(stack, id_, secret_complete_arn=one.secret_arn, encryption_key=key)
            for id_, one in (("Password", database.password), ("EncryptionKey", database.encryption_key))
        )
        sessions = logs.LogGroup(
            stack, "Sessions", log_group_name="/visionloop/sessions", retention=retention(size), encryption_key=key
        )  # what people did inside of tasks
        self.cluster = ecs.Cluster(
            stack, "Cluster", cluster_name="visionloop", vpc=network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
            execute_command_configuration=ecs.ExecuteCommandConfiguration(
                kms_key=key, logging=ecs.ExecuteCommandLogging.OVERRIDE,
                log_configuration=ecs.ExecuteCommandLogConfiguration(
                    cloud_watch_log_group=sessions, cloud_watch_encryption_enabled=True
                ),
            ),
        )  # fmt: skip
        self.cluster.add_default_cloud_map_namespace(name=DOMAIN, vpc=network.vpc)

    def image(self, name: str, tag: str) -> ecs.ContainerImage:
        return ecs.ContainerImage.from_ecr_repository(self.storage.repositories[name], tag)

    def settings(self, public_url: str, web_url: str) -> dict[str, str]:
        """What visionloop's own processes are told (docs/settings.md)."""
        return {
            "VISIONLOOP_VAR": f"{HOME}/var",
            "VISIONLOOP_HOST": "0.0.0.0",
            "VISIONLOOP_SERVICE_HOST": "0.0.0.0",
            "VISIONLOOP_PUBLIC_URL": public_url,
            "VISIONLOOP_WEB_URL": web_url,
            "VISIONLOOP_DATABASE_URL": self.database.url(),
            "VISIONLOOP_MLFLOW_URI": f"http://mlflow.{DOMAIN}:5000",
            "VISIONLOOP_PREFECT_API_URL": f"http://prefect.{DOMAIN}:4200/api",
            "VISIONLOOP_DVC_REMOTE": f"s3://{self.storage.data.bucket_name}/dvc",
        }

    def define(
        self, name: str, tier: Tier, runs: Sequence[Run], *, before: Before | None = None, var: bool = True
    ) -> ecs.FargateTaskDefinition:
        """A task of containers that share its processors and memory equally.

        Args:
            var: whether it mounts the shared folder, and can decrypt what is kept there.
        """
        task = ecs.FargateTaskDefinition(
            self.stack, f"{name}Task", family=f"visionloop-{name}", cpu=tier.cpu, memory_limit_mib=tier.memory,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.X86_64, operating_system_family=ecs.OperatingSystemFamily.LINUX
            ),
        )  # fmt: skip
        task.add_volume(name=_TMP)
        if var:
            self._mount(task)
        rest = Tier(tier.cpu - _BEFORE.cpu, tier.memory - _BEFORE.memory) if before else tier
        share = Tier(rest.cpu // len(runs), rest.memory // len(runs))
        made = [self._run(task, name, share, run, var) for run in runs]
        if before is not None:
            first = self._container(
                task, name, "before", before.image, before.command, before.environment, _BEFORE, var, essential=False
            )
            for one in made:
                one.add_container_dependencies(
                    ecs.ContainerDependency(container=first, condition=ecs.ContainerDependencyCondition.SUCCESS)
                )
        return task

    def _mount(self, task: ecs.FargateTaskDefinition) -> None:
        files, point = self.storage.files, self.storage.var
        task.add_volume(
            name=_HOME,
            efs_volume_configuration=ecs.EfsVolumeConfiguration(
                file_system_id=files.file_system_id, transit_encryption="ENABLED",
                authorization_config=ecs.AuthorizationConfig(access_point_id=point.access_point_id, iam="ENABLED"),
            ),
        )  # fmt: skip
        task.add_to_task_role_policy(
            iam.PolicyStatement(
                actions=["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
                resources=[files.file_system_arn],
                conditions={"StringEquals": {"elasticfilesystem:AccessPointArn": point.access_point_arn}},
            )
        )

    def _run(
        self, task: ecs.FargateTaskDefinition, name: str, share: Tier, run: Run, var: bool
    ) -> ecs.ContainerDefinition:
        probe = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{run.port}{run.health}', timeout=4)"
        return self._container(
            task, name, run.name, run.image, run.command, run.settings, share, var,
            port_mappings=[ecs.PortMapping(container_port=run.port)],
            health_check=ecs.HealthCheck(
                command=["CMD", "python", "-c", probe], interval=Duration.seconds(15), timeout=Duration.seconds(5),
                retries=4, start_period=Duration.seconds(120),
            ),
            stop_timeout=Duration.seconds(STOP_S),
        )  # fmt: skip

    def _container(
        self, task: ecs.FargateTaskDefinition, of: str, name: str, image: ecs.ContainerImage,
        command: Sequence[str] | None, environment: Mapping[str, str], share: Tier, var: bool, **more: Any,
    ) -> ecs.ContainerDefinition:  # fmt: skip
        """Not root, nothing to write but /tmp and the shared folder, a limit and a log of its own."""
        hidden = {"PGPASSWORD": ecs.Secret.from_secrets_manager(self._password, "password")}
        if var:
            hidden["VISIONLOOP_ENCRYPTION_KEY"] = ecs.Secret.from_secrets_manager(self._encryption_key)
        log = logs.LogGroup(
            self.stack, f"{of}-{name}Log", log_group_name=f"/visionloop/{of}/{name}", encryption_key=self.key,
            retention=retention(self.size),
        )  # fmt: skip
        container = task.add_container(
            name, image=image, command=list(command) if command else None, environment=dict(environment),
            secrets=hidden, cpu=share.cpu, memory_limit_mib=share.memory, user=USER, readonly_root_filesystem=True,
            linux_parameters=ecs.LinuxParameters(self.stack, f"{of}-{name}Linux", init_process_enabled=True),
            logging=ecs.LogDrivers.aws_logs(stream_prefix=name, log_group=log), **more,
        )  # fmt: skip
        for volume, path in ((_TMP, "/tmp"), *([(_HOME, HOME)] if var else [])):
            container.add_mount_points(ecs.MountPoint(source_volume=volume, container_path=path, read_only=False))
        return container

    def service(
        self, name: str, task: ecs.FargateTaskDefinition, group: str, *, alone: bool = False, **more: Any
    ) -> ecs.FargateService:
        """Runs a task. `alone`: never two at once, not even while a new one replaces it."""
        return ecs.FargateService(
            self.stack,
            f"{name}Service",
            service_name=name,
            cluster=self.cluster,
            task_definition=task,
            security_groups=[self.network.groups[group]],
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            min_healthy_percent=0 if alone else 100,
            max_healthy_percent=100 if alone else 200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            **more,
        )
