"""EMR Serverless for batches: an application that starts with the first job and stops when it is idle."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_emrserverless as emr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from network import Network
from options import Size
from storage import Storage
from tasks import retention

RELEASE = "emr-7.10.0"
IDLE_MINUTES = 15


def spark(scope: Stack, size: Size, key: object, network: Network, storage: Storage) -> iam.Role:
    """The application, and the role that its jobs run as: they read and write `batch/` of the bucket, and no more."""
    log = logs.LogGroup(
        scope, "SparkLog", log_group_name="/visionloop/spark", retention=retention(size), encryption_key=key
    )
    private = [subnet.subnet_id for subnet in network.vpc.private_subnets]
    application = emr.CfnApplication(
        scope, "Spark", name="visionloop", type="SPARK", release_label=RELEASE, architecture="X86_64",
        maximum_capacity=emr.CfnApplication.MaximumAllowedResourcesProperty(
            cpu=f"{size.spark_vcpu} vCPU", memory=f"{size.spark_gb} GB", disk=f"{20 * size.spark_vcpu} GB"
        ),
        auto_start_configuration=emr.CfnApplication.AutoStartConfigurationProperty(enabled=True),
        auto_stop_configuration=emr.CfnApplication.AutoStopConfigurationProperty(
            enabled=True, idle_timeout_minutes=IDLE_MINUTES
        ),
        network_configuration=emr.CfnApplication.NetworkConfigurationProperty(
            subnet_ids=private, security_group_ids=[network.groups["spark"].security_group_id]
        ),
        monitoring_configuration=emr.CfnApplication.MonitoringConfigurationProperty(
            cloud_watch_logging_configuration=emr.CfnApplication.CloudWatchLoggingConfigurationProperty(
                enabled=True, log_group_name=log.log_group_name, encryption_key_arn=key.key_arn
            )
        ),
    )  # fmt: skip
    jobs = iam.Role(
        scope, "SparkJobs", role_name="visionloop-spark-jobs",
        assumed_by=iam.ServicePrincipal(
            "emr-serverless.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": scope.account},
                        "ArnLike": {"aws:SourceArn": application.attr_arn}},
        ),
    )  # fmt: skip
    storage.allow(jobs, "batch")
    log.grant_write(jobs)
    log.grant(jobs, "logs:DescribeLogStreams")
    return jobs
