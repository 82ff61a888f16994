"""Findings of cdk-nag that are meant to be as they are, each with its place and its reason."""

from __future__ import annotations

import re

from aws_cdk import Acknowledgment, Stack, Validations

_BUCKET = "Resource::visionloop-data:ExportsOutputFnGetAttStorageData6BB23F4EArn2517E5CE"
_FOLDER = "a role may use all objects of its folder of the bucket, and only those"
ACKNOWLEDGED = (
    ("visionloop-data/Network/Balancer", "EC23", "the public load balancer is there for everybody: 80 and 443 only"),
    (
        "visionloop-data/Database/Instance/Secret",
        "SMG4",
        "tasks read the password when they start: a rotation that nobody expects locks them out (docs/aws.md)",
    ),
    (
        "visionloop-data/Database/EncryptionKey",
        "SMG4",
        "a new key comes before the old one, which must stay: `visionloop encryption rotate` does that",
    ),
    ("visionloop-data/Database/Instance", "RDS3", "the size small has no standby; large has one"),
    (
        "visionloop-data/Database/Instance",
        "RDS11",
        "who may connect is decided by security groups, not by a hidden port",
    ),
    ("visionloop-run/.*Task", "ECS2", "addresses and places; secrets come from Secrets Manager"),
    (
        "visionloop-run/.*Task/ExecutionRole/DefaultPolicy",
        "IAM5[Resource::*]",
        "ecr:GetAuthorizationToken is a right of the account and knows no resource",
    ),
    (
        "visionloop-run/operationsTask/TaskRole/DefaultPolicy",
        "IAM5[Resource::*]",
        "ssmmessages: a session has no name before it begins; logs:DescribeLogGroups is a list of all",
    ),
    (
        "visionloop-run/operationsTask/TaskRole/DefaultPolicy",
        "IAM5[Resource::arn:aws:logs:REGION:<AWS::AccountId>:log-group:<Sessions8896A56D>:*]",
        "all streams of one log: each session has its own",
    ),
    (
        "visionloop-run/(router|web)Service/.*Role",
        "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers]",
        "Amazon's own policy for ECS to move traffic between target groups",
    ),
    ("visionloop-run/mlflowTask/TaskRole/DefaultPolicy", f"IAM5[{_BUCKET}/mlflow/*]", _FOLDER),
    ("visionloop-run/operationsTask/TaskRole/DefaultPolicy", f"IAM5[{_BUCKET}/dvc/*]", _FOLDER),
    ("visionloop-run/(operationsTask/TaskRole|SparkJobs)/DefaultPolicy", f"IAM5[{_BUCKET}/batch/*]", _FOLDER),
)
"""(path of the construct as a pattern, rule of AwsSolutions, reason)."""


def acknowledge(*stacks: Stack) -> None:
    """Tells the CDK. Raises ValueError where an entry fits no construct: it is of something that is gone."""
    region = stacks[0].region
    constructs = [one for stack in stacks for one in stack.node.find_all()]
    for path, rule, reason in ACKNOWLEDGED:
        found = [one for one in constructs if re.fullmatch(path, one.node.path)]
        if not found:
            raise ValueError(f"{path}: nothing to acknowledge {rule} of")
        for one in found:
            Validations.of(one).acknowledge(
                Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule.replace('REGION', region)}", reason=reason)
            )
