"""The network: private subnets for all that runs, and a table of who may speak to whom."""

from __future__ import annotations

from aws_cdk import Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from aws_cdk.aws_kms import IKey
from constructs import Construct
from options import Size
from tasks import retention

ROUTER, WEB, MLFLOW, PREFECT, SERVICE, POSTGRES, NFS, HTTPS, HTTP, MAIL = (
    3000,
    8600,
    5000,
    4200,
    3000,
    5432,
    2049,
    443,
    80,
    587,
)

GROUPS = {
    "balancer": "the public load balancer",
    "edge": "routers and the web application",
    "inner": "the load balancer before the services",
    "services": "one service for each slot of each model",
    "tracking": "MLflow and Prefect",
    "operations": "guard, keeper and flows",
    "spark": "workers of EMR Serverless",
    "database": "PostgreSQL",
    "files": "the shared folder var",
}
INTERNET = "internet"
RULES = (
    (INTERNET, "balancer", HTTPS, "people and callers"),
    (INTERNET, "balancer", HTTP, "redirected to https"),
    ("balancer", "edge", ROUTER, "predictions"),
    ("balancer", "edge", WEB, "the web application"),
    ("edge", "inner", HTTP, "the router forwards to services"),
    ("operations", "inner", HTTP, "the guard asks whether services are ready"),
    ("inner", "services", SERVICE, "requests and health checks"),
    *((who, "tracking", port, f"{who} use it") for who in ("edge", "operations") for port in (MLFLOW, PREFECT)),
    *((who, "database", POSTGRES, f"{who} use it") for who in ("edge", "services", "tracking", "operations")),
    *((who, "files", NFS, f"{who} mount it") for who in ("edge", "services", "operations")),
    *((who, INTERNET, HTTPS, "AWS's own addresses") for who in ("services", "tracking", "spark")),
    ("edge", INTERNET, HTTPS, "AWS's own addresses"),
    ("operations", INTERNET, HTTPS, "AWS's own addresses, webhooks of callers"),
    ("edge", INTERNET, MAIL, "letters to a mail server"),
)
"""(from, to, TCP port, why). What is not here is refused, in both directions."""


class Network(Construct):
    """
    Attributes:
        vpc: with public subnets for the load balancer and private ones for all else.
        groups: security groups by the names of GROUPS.
    """

    def __init__(self, scope: Construct, size: Size, key: IKey) -> None:
        super().__init__(scope, "Network")
        subnets = [
            ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24,
                                    map_public_ip_on_launch=False),
            ec2.SubnetConfiguration(name="private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=20),
            ec2.SubnetConfiguration(name="data", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24),
        ]  # fmt: skip
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            availability_zones=[Fn.select(n, Fn.get_azs()) for n in range(size.zones)],
            nat_gateways=size.nat_gateways,
            subnet_configuration=subnets,
            restrict_default_security_group=False,  # would need a Lambda function; nothing uses that group
        )
        self.vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)  # free; NAT costs by the GB
        log = logs.LogGroup(self, "Flows", retention=retention(size), encryption_key=key)
        self.vpc.add_flow_log("FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(log))
        self.groups = {name: self._group(name, text) for name, text in GROUPS.items()}
        for source, target, port, why in RULES:
            self._allow(source, target, ec2.Port.tcp(port), why)

    def _group(self, name: str, text: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(self, name.capitalize(), vpc=self.vpc, description=text, allow_all_outbound=False)

    def _allow(self, source: str, target: str, port: ec2.Port, why: str) -> None:
        anybody = ec2.Peer.any_ipv4()
        if target != INTERNET:
            self.groups[target].add_ingress_rule(self.groups.get(source, anybody), port, why)
        if source != INTERNET:
            self.groups[source].add_egress_rule(self.groups.get(target, anybody), port, why)
