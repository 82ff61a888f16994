"""PostgreSQL, its password, and the secrets of visionloop."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct
from network import POSTGRES, Network
from options import Size
from tasks import retention

USER, NAME, INSTANCE = "visionloop", "visionloop", "visionloop"


class Database(Construct):
    """One instance with three databases: `visionloop`, and `mlflow` and `prefect`, which their tasks create.

    Attributes:
        password: the instance's credentials as RDS keeps them: a JSON with `password` in it.
        encryption_key: visionloop's own keys. Somebody must put one in: `openssl rand -base64 32`.
    """

    def __init__(self, scope: Construct, size: Size, key: kms.IKey, network: Network) -> None:
        super().__init__(scope, "Database")
        log = logs.LogGroup(
            self, "Log", log_group_name=f"/aws/rds/instance/{INSTANCE}/postgresql", retention=retention(size),
            encryption_key=key,
        )  # fmt: skip
        engine = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.VER_17_9)
        parameters = {"rds.force_ssl": "1", "log_min_duration_statement": "1000"}
        self.instance = rds.DatabaseInstance(
            self,
            "Instance",
            instance_identifier=INSTANCE,
            engine=engine,
            parameter_group=rds.ParameterGroup(self, "Parameters", engine=engine, parameters=parameters),
            instance_type=ec2.InstanceType(size.database),
            vpc=network.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            security_groups=[network.groups["database"]],
            port=POSTGRES,
            database_name=NAME,
            credentials=rds.Credentials.from_generated_secret(
                USER, secret_name="visionloop/database", encryption_key=key
            ),
            allocated_storage=size.database_gb,
            max_allocated_storage=size.database_most_gb,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            storage_encryption_key=key,
            multi_az=size.standby,
            backup_retention=Duration.days(size.backup_days),
            copy_tags_to_snapshot=True,
            deletion_protection=True,
            removal_policy=RemovalPolicy.SNAPSHOT,
            auto_minor_version_upgrade=True,
            cloudwatch_logs_exports=["postgresql"],
            publicly_accessible=False,
        )
        self.instance.node.add_dependency(log)  # else RDS makes it, without an end to what it keeps
        assert self.instance.secret is not None
        self.password = self.instance.secret
        self.encryption_key = secrets.Secret(
            self, "EncryptionKey", secret_name="visionloop/encryption-key", encryption_key=key,
            description="visionloop's encryption_key: replace it by the output of `openssl rand -base64 32`",
            removal_policy=RemovalPolicy.RETAIN,
        )  # fmt: skip

    def url(self, name: str = NAME, scheme: str = "postgresql", options: str = "sslmode=require") -> str:
        """An address without a password, which every client reads from PGPASSWORD: a secret of the container."""
        host = self.instance.db_instance_endpoint_address
        return f"{scheme}://{USER}@{host}:{POSTGRES}/{name}?{options}"
