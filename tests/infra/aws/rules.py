"""What must hold of every template for AWS. A rule returns what breaks it, as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Template = Mapping[str, Any]
Rule = Callable[[Template], list[str]]

ON_EVERYTHING = {
    "ecr:GetAuthorizationToken": "ECR's log-in is of the account, and has no resource",
    "ssmmessages:CreateControlChannel": "sessions in a task have no name before they begin",
    "ssmmessages:CreateDataChannel": "as above",
    "ssmmessages:OpenControlChannel": "as above",
    "ssmmessages:OpenDataChannel": "as above",
    "logs:DescribeLogGroups": "a list is of all groups",
    "elasticloadbalancing:DescribeListeners": "Describe calls of load balancing know no resource",
    "elasticloadbalancing:DescribeRules": "as above",
    "elasticloadbalancing:DescribeTargetGroups": "as above",
    "elasticloadbalancing:DescribeTargetHealth": "as above",
}
"""Actions that AWS allows on `*` only, and why."""
_FAMILIES = (
    "s3:GetObject*",
    "s3:GetBucket*",
    "s3:List*",
    "s3:DeleteObject*",
    "s3:Abort*",
    "kms:ReEncrypt*",
    "kms:GenerateDataKey*",
)
"""Parts of one service's actions that the CDK grants for reading and writing."""


def of_type(template: Template, *types: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, one in template["Resources"].items():
        if one["Type"] in types:
            yield name, one.get("Properties", {})


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def buckets_are_private(template: Template) -> list[str]:
    """No public access, versions, an end to old ones, and TLS only."""
    found = []
    secure = {
        json.dumps(policy["Bucket"]) for _, policy in of_type(template, "AWS::S3::BucketPolicy") if _asks_tls(policy)
    }
    for name, one in of_type(template, "AWS::S3::Bucket"):
        block = one.get("PublicAccessBlockConfiguration", {})
        kinds = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        found += [f"{name}: {kind} is not set" for kind in kinds if block.get(kind) is not True]
        if one.get("AccessControl", "Private") not in ("Private", "LogDeliveryWrite"):
            found.append(f"{name}: {one['AccessControl']}")
        if one.get("VersioningConfiguration", {}).get("Status") != "Enabled":
            found.append(f"{name}: no versions")
        if not one.get("LifecycleConfiguration", {}).get("Rules"):
            found.append(f"{name}: old versions stay for ever")
        if json.dumps({"Ref": name}) not in secure:
            found.append(f"{name}: answers without TLS")
    return found


def _asks_tls(policy: Mapping[str, Any]) -> bool:
    return any(
        one["Effect"] == "Deny" and one.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
        for one in policy["PolicyDocument"]["Statement"]
    )


def statements(template: Template) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of all policies of roles; a policy of a bucket or a key is about that one."""
    for name, one in of_type(template, "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        yield from ((name, statement) for statement in one["PolicyDocument"]["Statement"])
    for name, one in of_type(template, "AWS::IAM::Role"):
        for policy in one.get("Policies", []):
            yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])


def rights_are_narrow(template: Template) -> list[str]:
    """No `*` as an action, none of a whole service, and `*` as a resource only where AWS knows nothing narrower."""
    found = []
    for name, one in statements(template):
        if one["Effect"] != "Allow":
            continue
        actions = as_list(one.get("Action", ["*"]))
        found += [f"{name}: {action}" for action in actions if "*" in action and action not in _FAMILIES]
        if "*" in as_list(one.get("Resource", "*")):
            found += [f"{name}: {action} on *" for action in actions if action not in ON_EVERYTHING]
    managed = of_type(template, "AWS::IAM::Role")
    return found + [f"{name}: {json.dumps(arn)}" for name, one in managed for arn in one.get("ManagedPolicyArns", [])
                    if "Administrator" in json.dumps(arn) or "FullAccess" in json.dumps(arn)]  # fmt: skip


_ENCRYPTED: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "AWS::RDS::DBInstance": lambda one: one.get("StorageEncrypted") is True and one.get("KmsKeyId"),
    "AWS::EFS::FileSystem": lambda one: one.get("Encrypted") is True and one.get("KmsKeyId"),
    "AWS::ECR::Repository": lambda one: one.get("EncryptionConfiguration", {}).get("KmsKey"),
    "AWS::Logs::LogGroup": lambda one: one.get("KmsKeyId"),
    "AWS::SNS::Topic": lambda one: one.get("KmsMasterKeyId"),
    "AWS::SecretsManager::Secret": lambda one: one.get("KmsKeyId"),
    "AWS::S3::Bucket": lambda one: one.get("BucketEncryption"),
    "AWS::KMS::Key": lambda one: one.get("EnableKeyRotation") is True,
}


def all_is_encrypted(template: Template) -> list[str]:
    """At rest with our key (the bucket of logs with Amazon's), and on the way with TLS."""
    found = [f"{name}: not encrypted" for kind, is_ in _ENCRYPTED.items() for name, one in of_type(template, kind)
             if not is_(one)]  # fmt: skip
    for name, one in of_type(template, "AWS::ECS::TaskDefinition"):
        for volume in one.get("Volumes", []):
            files = volume.get("EFSVolumeConfiguration")
            if files and files.get("TransitEncryption") != "ENABLED":
                found.append(f"{name}: {volume['Name']} is mounted without TLS")
    for name, one in of_type(template, "AWS::ElasticLoadBalancingV2::Listener"):
        redirects = all(action["Type"] in ("redirect", "fixed-response") for action in one["DefaultActions"])
        if one["Protocol"] != "HTTPS" and not redirects:
            found.append(f"{name}: {one['Protocol']}")
        if one["Protocol"] == "HTTPS" and "TLS13" not in one.get("SslPolicy", ""):
            found.append(f"{name}: {one.get('SslPolicy')}")
    return found


def region_is_guarded(template: Template) -> list[str]:
    """The template itself names its regions, all of them in Europe."""
    asked = [one["Assert"] for rule in template.get("Rules", {}).values() for one in rule["Assertions"]]
    guards = [one["Fn::Contains"][0] for one in asked if one.get("Fn::Contains", [0, 0])[1] == {"Ref": "AWS::Region"}]
    if not guards:
        return ["no rule names the regions"]
    return [f"not in Europe: {one}" for regions in guards for one in regions if not one.startswith("eu-")]


def tasks_are_bounded(template: Template) -> list[str]:
    """Limits that fit, a health check, a log that ends, nobody is root, nothing of the image is writable."""
    found, groups = [], dict(of_type(template, "AWS::Logs::LogGroup"))
    for name, task in of_type(template, "AWS::ECS::TaskDefinition"):
        containers = task["ContainerDefinitions"]
        for one in containers:
            where = f"{name}/{one['Name']}"
            if one.get("Essential", True) and not one.get("HealthCheck", {}).get("Command"):
                found.append(f"{where}: no health check")
            group = one.get("LogConfiguration", {}).get("Options", {}).get("awslogs-group", {})
            if not groups.get(group.get("Ref", ""), {}).get("RetentionInDays"):
                found.append(f"{where}: no log with an end")
            found += [f"{where}: no limit of {kind}" for kind in ("Memory", "Cpu") if not one.get(kind)]
            if one.get("User") in (None, "root", "0") or not one.get("ReadonlyRootFilesystem"):
                found.append(f"{where}: root, or a writable image")
        for kind in ("Memory", "Cpu"):
            if sum(one.get(kind) or 0 for one in containers) > int(task.get(kind) or 0):
                found.append(f"{name}: its containers have more {kind} than it")
    return found


def secrets_are_secrets(template: Template) -> list[str]:
    """No password, key or token stands in an environment variable."""
    found = []
    for name, task in of_type(template, "AWS::ECS::TaskDefinition"):
        for one in task["ContainerDefinitions"]:
            for variable in one.get("Environment", []):
                words = ("PASSWORD", "SECRET", "TOKEN", "_KEY")
                value = json.dumps(variable["Value"])
                if any(word in variable["Name"] for word in words) or "{{resolve:" in value:
                    found.append(f"{name}: {variable['Name']}")
    return found


def nothing_is_open(template: Template) -> list[str]:
    """From the internet only 80 and 443 of the public load balancer; nothing else has a public address."""
    found = []
    groups = dict(of_type(template, "AWS::EC2::SecurityGroup"))
    rules = [(name, rule) for name, one in groups.items() for rule in one.get("SecurityGroupIngress", [])]
    rules += of_type(template, "AWS::EC2::SecurityGroupIngress")
    for name, rule in rules:
        anybody = rule.get("CidrIp") == "0.0.0.0/0" or "CidrIpv6" in rule
        public = "public" in groups.get(name, {}).get("GroupDescription", "")
        if anybody and not (public and rule.get("FromPort") == rule.get("ToPort") and rule["ToPort"] in (80, 443)):
            found.append(f"{name}: open at {rule.get('FromPort')}")
    for name, one in of_type(template, "AWS::ECS::Service"):
        if one["NetworkConfiguration"]["AwsvpcConfiguration"].get("AssignPublicIp") != "DISABLED":
            found.append(f"{name}: a public address")
    found += [f"{name}: public" for name, one in of_type(template, "AWS::RDS::DBInstance")
              if one.get("PubliclyAccessible") is not False]  # fmt: skip
    return found


def database_is_kept(template: Template) -> list[str]:
    """Backups, no deletion by mistake; a snapshot when the stack goes."""
    found = []
    for name, one in template["Resources"].items():
        if one["Type"] == "AWS::RDS::DBInstance":
            props = one["Properties"]
            if not props.get("BackupRetentionPeriod") or not props.get("DeletionProtection"):
                found.append(f"{name}: no backups, or deleted at a word")
            if one.get("DeletionPolicy") != "Snapshot":
                found.append(f"{name}: gone with its stack")
    return found


RULES: tuple[Rule, ...] = (
    buckets_are_private,
    rights_are_narrow,
    all_is_encrypted,
    region_is_guarded,
    tasks_are_bounded,
    secrets_are_secrets,
    nothing_is_open,
    database_is_kept,
)
