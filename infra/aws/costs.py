"""What it costs in a month: `python infra/aws/costs.py` writes the table into docs/aws.md, `--check` only compares.

Counts and sizes come from options.py, as those of the templates do. Prices are assumptions, all of them in PRICES.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from options import PROJECT, SIZES, Size, Tier, models

PAGE = PROJECT / "docs" / "aws.md"
BEGIN, END = "<!-- costs: written by infra/aws/costs.py -->\n", "<!-- end of costs -->\n"
HOURS = 730
PRICES_OF = "2026-11-30"

PRICES = {
    "Fargate vCPU hour": 0.04656,
    "Fargate GB hour": 0.00511,
    "NAT gateway hour": 0.052,
    "NAT gateway GB": 0.052,
    "load balancer hour": 0.027,
    "load balancer capacity unit hour": 0.008,
    "public address hour": 0.005,
    "RDS t4g.medium hour": 0.083,
    "RDS m7g.xlarge hour": 0.383,
    "RDS storage GB": 0.137,
    "EFS GB": 0.36,
    "S3 GB": 0.0245,
    "image GB": 0.10,
    "log GB": 0.63,
    "firewall": 5.0,
    "firewall rule": 1.0,
    "firewall million requests": 0.60,
    "key": 1.0,
    "secret": 0.40,
    "alarm": 0.10,
    "dashboard": 3.0,
    "internet GB": 0.09,
    "EMR Serverless vCPU hour": 0.0631,
    "EMR Serverless GB hour": 0.0069,
}
"""US dollars before tax, on demand, Frankfurt (eu-central-1), without free tiers. Assumed on PRICES_OF."""


@dataclass(frozen=True)
class Use:
    """What the table assumes of a month.

    Attributes:
        models: with one filled slot; the other slot is filled only during a release.
        requests: predictions, of 0.5 MB in and 0.1 MB out.
        files_gb, objects_gb, images_gb, logs_gb: in the shared folder, in the bucket, of images, new lines of logs.
        spark_hours: of 16 vCPU with 64 GB.
    """

    models: int
    requests: int
    files_gb: int
    objects_gb: int
    images_gb: int
    logs_gb: int
    spark_hours: int


USES = {
    "small": Use(1, 1_000_000, 50, 100, 10, 10, 5),
    "large": Use(len(models()), 50_000_000, 500, 2000, 50, 200, 100),
}


def lines(size: Size, use: Use) -> Iterator[tuple[str, str, float]]:
    """(what, how much, US dollars in a month), line by line."""
    p = PRICES
    for name, tier, count in _tiers(size, use):
        cost = count * HOURS * (tier.cpu / 1024 * p["Fargate vCPU hour"] + tier.memory / 1024 * p["Fargate GB hour"])
        yield f"Fargate: {name}", f"{count} x {tier.cpu / 1024:g} vCPU, {tier.memory / 1024:g} GB", cost
    copies = 2 if size.standby else 1
    hours = copies * HOURS * p[f"RDS {size.database} hour"]
    storage = copies * size.database_gb * p["RDS storage GB"]
    yield "PostgreSQL", f"{copies} x {size.database}, {size.database_gb} GB", hours + storage
    inside_gb = use.requests * 0.6 / 1000  # through each of both load balancers
    units = max(1.0, inside_gb / HOURS)  # a unit is 1 GB an hour
    balancers = 2 * HOURS * (p["load balancer hour"] + units * p["load balancer capacity unit hour"])
    yield "load balancers", f"2, {units:.1f} capacity units each", balancers
    nat_gb = use.logs_gb + use.images_gb  # the bucket's own way in is free
    nat = size.nat_gateways * HOURS * p["NAT gateway hour"] + nat_gb * p["NAT gateway GB"]
    yield "NAT gateways", f"{size.nat_gateways}, {nat_gb} GB", nat
    addresses = size.nat_gateways + size.zones
    yield "public addresses", str(addresses), addresses * HOURS * p["public address hour"]
    millions = use.requests / 1e6
    wall = p["firewall"] + 4 * p["firewall rule"] + millions * p["firewall million requests"]
    yield "firewall", f"4 rules, {millions:g} million requests", wall
    kept = use.files_gb * p["EFS GB"] + use.objects_gb * p["S3 GB"] + use.images_gb * p["image GB"]
    yield "files, objects, images", f"{use.files_gb}, {use.objects_gb}, {use.images_gb} GB", kept
    watched = use.logs_gb * p["log GB"] + (8 + 2 * len(models())) * p["alarm"] + p["dashboard"]
    yield "logs, alarms, dashboard", f"{use.logs_gb} GB, {8 + 2 * len(models())} alarms", watched
    yield "key and secrets", "1, 2", p["key"] + 2 * p["secret"]
    out_gb = use.requests * 0.1 / 1000
    yield "answers to the internet", f"{out_gb:,.0f} GB", out_gb * p["internet GB"]
    spark = use.spark_hours * (16 * p["EMR Serverless vCPU hour"] + 64 * p["EMR Serverless GB hour"])
    yield "Spark", f"{use.spark_hours} h of 16 vCPU, 64 GB", spark


def _tiers(size: Size, use: Use) -> Iterator[tuple[str, Tier, int]]:
    for name in ("router", "web", "operations", "mlflow", "prefect"):
        tier: Tier = getattr(size, name)
        yield name, tier, tier.least
    yield "services", size.service, use.models * size.service.least


def table() -> str:
    """The table of all sizes, as Markdown."""
    columns = {name: list(lines(size, USES[name])) for name, size in SIZES.items()}
    head = "".join(f" {name} | $ a month |" for name in columns)
    rows = [f"| |{head}", f"|---|{'---|---:|' * len(columns)}"]
    for of_sizes in zip(*columns.values(), strict=True):
        rows.append(f"| {of_sizes[0][0]} |" + "".join(f" {text} | {cost:,.0f} |" for _, text, cost in of_sizes))
    sums = "".join(f" | **{sum(cost for _, _, cost in found):,.0f}** |" for found in columns.values())
    return "\n".join([*rows, f"| **together** |{sums}"]) + "\n"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{PAGE} has no place for the table\n  fix: put the lines {BEGIN.strip()} and {END.strip()} into it")
    current = before + BEGIN + table() + END + after
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(current, encoding="utf-8")
    elif current != text:
        sys.exit(f"the table of {PAGE.name} is not what the prices give\n  fix: python infra/aws/costs.py")


if __name__ == "__main__":
    main()
