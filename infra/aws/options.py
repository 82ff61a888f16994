"""What is built, how large, and where. Imports no CDK: the cost table and the tests of the main environment read it.

Every count and size that costs money stands here, so that templates and cost table cannot disagree.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
EU = ("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3")
"""Regions of the EU, a part of the default of the setting s3_regions, so that what is built may use its bucket."""
SLOTS = ("a", "b")
"""Each model has two services, so that the router can move traffic from one version to the other."""
NO_IMAGE = "none"
"""The image tag of a slot that is empty: its service has no task."""


@dataclass(frozen=True)
class Tier:
    """Tasks of one kind. `cpu`: 1024 are one vCPU. `memory`: MiB. From `least` to `most` tasks."""

    cpu: int
    memory: int
    least: int = 1
    most: int = 1


@dataclass(frozen=True)
class Size:
    """
    Attributes:
        zones: availability zones.
        nat_gateways: ways out of the private subnets; one for each zone survives the loss of a zone.
        database: class of the RDS instance.
        database_gb, database_most_gb: storage at first, and how far it may grow.
        standby: whether the database has a second instance in another zone.
        backup_days: how long the database's daily backups are kept.
        log_days: how long logs are kept. One of the numbers that CloudWatch knows.
        service: one slot of a model.
        requests_per_task: of a service in a minute; more of them start another task.
        spark_vcpu, spark_gb: most that EMR Serverless may use at once.
        budget_usd: monthly costs that the alarm is about.
    """

    name: str
    zones: int
    nat_gateways: int
    database: str
    database_gb: int
    database_most_gb: int
    standby: bool
    backup_days: int
    log_days: int
    router: Tier
    web: Tier
    operations: Tier
    mlflow: Tier
    prefect: Tier
    service: Tier
    requests_per_task: int
    spark_vcpu: int
    spark_gb: int
    budget_usd: int


SMALL = Size(
    "small", zones=2, nat_gateways=1, database="t4g.medium", database_gb=50, database_most_gb=200, standby=False,
    backup_days=7, log_days=30, router=Tier(512, 1024, 1, 3), web=Tier(1024, 2048, 1, 3),
    operations=Tier(4096, 16384), mlflow=Tier(512, 2048), prefect=Tier(512, 2048), service=Tier(1024, 2048, 1, 4),
    requests_per_task=600, spark_vcpu=16, spark_gb=64, budget_usd=1000,
)  # fmt: skip
LARGE = Size(
    "large", zones=3, nat_gateways=3, database="m7g.xlarge", database_gb=200, database_most_gb=2000, standby=True,
    backup_days=30, log_days=90, router=Tier(1024, 2048, 3, 12), web=Tier(2048, 4096, 2, 8),
    operations=Tier(16384, 65536), mlflow=Tier(1024, 4096), prefect=Tier(1024, 4096), service=Tier(2048, 4096, 3, 30),
    requests_per_task=1200, spark_vcpu=400, spark_gb=1600, budget_usd=6000,
)  # fmt: skip
SIZES = {size.name: size for size in (SMALL, LARGE)}


@dataclass(frozen=True)
class Options:
    """What the person chose: `cdk synth -c size=large -c region=eu-west-1 -c allow_regions=...`."""

    size: Size = SMALL
    region: str = REGION
    allowed: tuple[str, ...] = EU

    @classmethod
    def of(cls, given: Mapping[str, str | None]) -> Options:
        """Options from the context. Exits with one message where a value is wrong."""
        name = given.get("size") or SMALL.name
        if name not in SIZES:
            _refuse(f"the size is {name!r}", f"one of {', '.join(SIZES)}", "-c size=small")
        extra = [one.strip() for one in (given.get("allow_regions") or "").split(",") if one.strip()]
        options = cls(SIZES[name], given.get("region") or REGION, (*EU, *extra))
        if options.region not in options.allowed:
            _refuse(
                f"the region is {options.region}",
                f"one of {', '.join(options.allowed)}: people's data stays in the EU",
                f"-c region={REGION}, or, if that is decided, -c allow_regions={options.region}",
            )
        return options


def models() -> list[str]:
    """Names of the models: the folders of the catalog. Their code is not imported."""
    return sorted(path.parent.name for path in (PROJECT / "registry" / "models").glob("*/model.py"))


def _refuse(found: str, expected: str, fix: str) -> None:
    sys.exit(f"{found}\n  expected: {expected}\n  fix: {fix}")
