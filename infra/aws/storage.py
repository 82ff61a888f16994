"""What is kept: the key that encrypts it, buckets, image repositories, and the folder `var` that tasks share."""

from __future__ import annotations

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_efs as efs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from network import Network
from options import models
from tasks import USER

IMAGES = ("edge", "flows")
"""Images beside those of the models: router and web application; flows, guard, keeper, MLflow and Prefect."""


def make_key(scope: Construct) -> kms.Key:
    """The key of all data. CloudWatch may use it for logs and alarms of this account only."""
    key = kms.Key(
        scope, "Key", alias="visionloop", enable_key_rotation=True, removal_policy=RemovalPolicy.RETAIN,
        description="encrypts what visionloop keeps",
    )  # fmt: skip
    stack = Stack.of(scope)
    logs = stack.format_arn(
        service="logs", resource="log-group", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
    )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
            actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
            resources=["*"],  # in a key's policy: this key
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
        )
    )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[
                iam.ServicePrincipal("cloudwatch.amazonaws.com"),
                iam.ServicePrincipal("budgets.amazonaws.com"),
            ],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
        )
    )
    return key


class Storage(Construct):
    """
    Attributes:
        data: data versions (`dvc/`), MLflow's artifacts (`mlflow/`), input and output of batches (`batch/`).
        logs: who read the bucket, and the load balancer's access log.
        repositories: by image: `edge`, `flows`, and one for each model.
        files: the file system of `var`.
    """

    def __init__(self, scope: Construct, key: kms.IKey, network: Network) -> None:
        super().__init__(scope, "Storage")
        # Load balancers write their access log with Amazon's own keys only.
        self.logs = self._bucket("Logs", s3.BucketEncryption.S3_MANAGED, expiration=Duration.days(90))
        self.data = self._bucket(
            "Data", s3.BucketEncryption.KMS, encryption_key=key, bucket_key_enabled=True,
            server_access_logs_bucket=self.logs, server_access_logs_prefix="data/",
        )  # fmt: skip
        self.data.add_lifecycle_rule(
            prefix="dvc/",
            transitions=[
                s3.Transition(storage_class=s3.StorageClass.INTELLIGENT_TIERING, transition_after=Duration.days(30))
            ],
        )
        self.repositories = {name: self._repository(name, key) for name in (*IMAGES, *models())}
        self.files = efs.FileSystem(
            self, "Files", vpc=network.vpc, encrypted=True, kms_key=key, security_group=network.groups["files"],
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            throughput_mode=efs.ThroughputMode.ELASTIC, lifecycle_policy=efs.LifecyclePolicy.AFTER_30_DAYS,
            enable_automatic_backups=True, removal_policy=RemovalPolicy.RETAIN,
        )  # fmt: skip
        self.var = self.files.add_access_point(
            "Var", path="/var", create_acl=efs.Acl(owner_uid=USER, owner_gid=USER, permissions="0750"),
            posix_user=efs.PosixUser(uid=USER, gid=USER),
        )  # fmt: skip

    def allow(self, role: iam.IRole, *folders: str) -> None:
        """Lets a role read and write folders of the bucket, and nothing else of it."""
        assert self.data.encryption_key is not None
        within = [self.data.arn_for_objects(f"{folder}/*") for folder in folders]
        objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        prefix = {"StringLike": {"s3:prefix": [f"{folder}/*" for folder in folders]}}
        for actions, resources, conditions in (
            (objects, within, None),
            (["s3:ListBucket"], [self.data.bucket_arn], prefix),
            (["s3:GetBucketLocation"], [self.data.bucket_arn], None),
            (["kms:Decrypt", "kms:GenerateDataKey"], [self.data.encryption_key.key_arn], None),
        ):
            role.add_to_principal_policy(
                iam.PolicyStatement(actions=actions, resources=resources, conditions=conditions)
            )

    def _bucket(
        self, name: str, encryption: s3.BucketEncryption, expiration: Duration | None = None, **more: object
    ) -> s3.Bucket:
        old = s3.LifecycleRule(
            noncurrent_version_expiration=Duration.days(30), expiration=expiration,
            abort_incomplete_multipart_upload_after=Duration.days(7),
        )  # fmt: skip
        return s3.Bucket(
            self, name, encryption=encryption, versioned=True, enforce_ssl=True, minimum_tls_version=1.2,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL, lifecycle_rules=[old],
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED, removal_policy=RemovalPolicy.RETAIN, **more,
        )  # fmt: skip

    def _repository(self, name: str, key: kms.IKey) -> ecr.Repository:
        return ecr.Repository(
            self, f"Images{name}", repository_name=f"visionloop/{name}", encryption=ecr.RepositoryEncryption.KMS,
            encryption_key=key, image_scan_on_push=True, image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=20)], removal_policy=RemovalPolicy.RETAIN,
        )  # fmt: skip
