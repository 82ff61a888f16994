"""Each rule finds what it is for: a template that breaks it, and the same one mended."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.aws import rules

KEY = {"Ref": "Key"}
BLOCK = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
DENY = {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
CONTAINER = {
    "Name": "c", "Essential": True, "HealthCheck": {"Command": ["CMD", "true"]}, "Memory": 512, "Cpu": 256,
    "LogConfiguration": {"Options": {"awslogs-group": {"Ref": "Log"}}}, "User": "10001", "ReadonlyRootFilesystem": True,
    "Environment": [{"Name": "VISIONLOOP_HOST", "Value": "0.0.0.0"}],
}  # fmt: skip
GOOD: dict[str, Any] = {
    "Rules": {"Region": {"Assertions": [{"Assert": {"Fn::Contains": [["eu-central-1"], {"Ref": "AWS::Region"}]}}]}},
    "Resources": {
        "Key": {"Type": "AWS::KMS::Key", "Properties": {"EnableKeyRotation": True}},
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {
            "PublicAccessBlockConfiguration": BLOCK, "VersioningConfiguration": {"Status": "Enabled"},
            "LifecycleConfiguration": {"Rules": [{}]}, "BucketEncryption": {"x": 1}}},
        "Policy": {"Type": "AWS::S3::BucketPolicy", "Properties": {
            "Bucket": {"Ref": "Bucket"}, "PolicyDocument": {"Statement": [DENY]}}},
        "Rights": {"Type": "AWS::IAM::Policy", "Properties": {"PolicyDocument": {"Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject*", "s3:PutObject"], "Resource": {"Ref": "Bucket"}},
            {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}]}}},
        "Role": {"Type": "AWS::IAM::Role", "Properties": {}},
        "Log": {"Type": "AWS::Logs::LogGroup", "Properties": {"KmsKeyId": KEY, "RetentionInDays": 30}},
        "Database": {"Type": "AWS::RDS::DBInstance", "DeletionPolicy": "Snapshot", "Properties": {
            "StorageEncrypted": True, "KmsKeyId": KEY, "PubliclyAccessible": False, "BackupRetentionPeriod": 7,
            "DeletionProtection": True}},
        "Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": {
            "Memory": "512", "Cpu": "256", "ContainerDefinitions": [CONTAINER],
            "Volumes": [{"Name": "home", "EFSVolumeConfiguration": {"TransitEncryption": "ENABLED"}}]}},
        "Service": {"Type": "AWS::ECS::Service", "Properties": {
            "NetworkConfiguration": {"AwsvpcConfiguration": {"AssignPublicIp": "DISABLED"}}}},
        "Listener": {"Type": "AWS::ElasticLoadBalancingV2::Listener", "Properties": {
            "Protocol": "HTTPS", "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
            "DefaultActions": [{"Type": "forward"}]}},
        "Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": {
            "GroupDescription": "the public load balancer",
            "SecurityGroupIngress": [{"CidrIp": "0.0.0.0/0", "FromPort": 443, "ToPort": 443}]}},
    },
}  # fmt: skip
"""Breaks no rule."""


def _set(*path: str | int, to: Any) -> Callable[[Any], None]:
    def change(template: Any) -> None:
        one = template["Resources"]
        for part in path[:-1]:
            one = one[part] if part in one or isinstance(part, int) else one["Properties"][part]
        if to is None:
            del one[path[-1]]
        else:
            one[path[-1]] = to

    return change


P = "Properties"
STATEMENT = ("Rights", P, "PolicyDocument", "Statement", 0)
C = ("Task", P, "ContainerDefinitions", 0)
BROKEN = [
    (rules.buckets_are_private, _set("Bucket", P, "PublicAccessBlockConfiguration", "BlockPublicPolicy", to=False)),
    (rules.buckets_are_private, _set("Bucket", P, "PublicAccessBlockConfiguration", to=None)),
    (rules.buckets_are_private, _set("Bucket", P, "AccessControl", to="PublicRead")),
    (rules.buckets_are_private, _set("Bucket", P, "VersioningConfiguration", to=None)),
    (rules.buckets_are_private, _set("Bucket", P, "LifecycleConfiguration", to=None)),
    (rules.buckets_are_private, _set("Policy", P, "PolicyDocument", "Statement", to=[])),
    (rules.rights_are_narrow, _set(*STATEMENT, "Action", to="*")),
    (rules.rights_are_narrow, _set(*STATEMENT, "Action", to=["s3:GetObject", "s3:*"])),
    (rules.rights_are_narrow, _set(*STATEMENT, "Resource", to="*")),
    (rules.rights_are_narrow, _set("Role", P, "ManagedPolicyArns", to=["arn:aws:iam::aws:policy/AmazonS3FullAccess"])),
    (rules.rights_are_narrow, _set("Role", P, "Policies", to=[
        {"PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}]}}])),
    (rules.all_is_encrypted, _set("Database", P, "StorageEncrypted", to=False)),
    (rules.all_is_encrypted, _set("Log", P, "KmsKeyId", to=None)),
    (rules.all_is_encrypted, _set("Bucket", P, "BucketEncryption", to=None)),
    (rules.all_is_encrypted, _set("Key", P, "EnableKeyRotation", to=False)),
    (rules.all_is_encrypted, _set("Task", P, "Volumes", 0, "EFSVolumeConfiguration", to={"FilesystemId": "x"})),
    (rules.all_is_encrypted, _set("Listener", P, "Protocol", to="HTTP")),
    (rules.all_is_encrypted, _set("Listener", P, "SslPolicy", to="ELBSecurityPolicy-2016-08")),
    (rules.region_is_guarded, lambda template: template.pop("Rules")),
    (rules.region_is_guarded, lambda template: template["Rules"]["Region"]["Assertions"][0]["Assert"]["Fn::Contains"][0]
        .append("us-east-1")),
    (rules.tasks_are_bounded, _set(*C, "HealthCheck", to=None)),
    (rules.tasks_are_bounded, _set(*C, "Memory", to=None)),
    (rules.tasks_are_bounded, _set(*C, "Memory", to=1024)),
    (rules.tasks_are_bounded, _set(*C, "LogConfiguration", to=None)),
    (rules.tasks_are_bounded, _set("Log", P, "RetentionInDays", to=None)),
    (rules.tasks_are_bounded, _set(*C, "User", to="root")),
    (rules.tasks_are_bounded, _set(*C, "ReadonlyRootFilesystem", to=False)),
    (rules.tasks_are_bounded, _set("Task", P, "Cpu", to=None)),
    (rules.secrets_are_secrets, _set(*C, "Environment", to=[{"Name": "PGPASSWORD", "Value": "x"}])),
    (rules.secrets_are_secrets, _set(*C, "Environment", to=[{"Name": "U", "Value": "{{resolve:secretsmanager:a}}"}])),
    (rules.nothing_is_open, _set("Group", P, "SecurityGroupIngress", 0, "ToPort", to=65535)),
    (rules.nothing_is_open, _set("Group", P, "GroupDescription", to="PostgreSQL")),
    (rules.nothing_is_open, _set("Service", P, "NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp",
                                 to="ENABLED")),
    (rules.nothing_is_open, _set("Database", P, "PubliclyAccessible", to=True)),
    (rules.database_is_kept, _set("Database", P, "BackupRetentionPeriod", to=0)),
    (rules.database_is_kept, _set("Database", "DeletionPolicy", to="Delete")),
]  # fmt: skip


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_a_good_template_breaks_no_rule(rule: rules.Rule) -> None:
    assert rule(GOOD) == []


@pytest.mark.parametrize(("rule", "damage"), BROKEN, ids=[f"{rule.__name__}-{n}" for n, (rule, _) in enumerate(BROKEN)])
def test_each_damage_breaks_its_rule_and_no_other(rule: rules.Rule, damage: Callable[[Any], None]) -> None:
    template = copy.deepcopy(GOOD)
    damage(template)
    broken = {one.__name__ for one in rules.RULES if one(template)}
    assert broken == {rule.__name__}


def test_each_rule_has_been_broken() -> None:
    assert {rule for rule, _ in BROKEN} == set(rules.RULES)
