"""`python -m tests.benchmarks.calibration BUNDLE [--splits 100]`: counts false drift alarms.

Each split divides the cases of the bundle's reference into two random halves and judges one against the other. Both
have one distribution, so every alarm is false.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monitoring.drift import statistics, tables
from monitoring.drift.findings import Table
from registry.core.errors import VisionloopError
from registry.core.settings import settings
from registry.versions.bundle import open_bundle


def false_alarms(reference: Table, splits: int, alpha: float, *, rows: int | None = None, seed: int = 0) -> int:
    """How many of `splits` splits raise an alarm. `rows`: size of the window. Default: half the reference."""
    rng, count = np.random.default_rng(seed), 0
    size = rows or len(reference) // 2
    for number in range(splits):
        order = rng.permutation(len(reference))
        finding = statistics.compare_distributions(
            reference.take(order[size:]), reference.take(order[:size]), alpha, seed=number
        )
        count += finding.drifted
    return count


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.calibration", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("--splits", type=int, default=100)
    given = parser.parse_args(arguments)
    alpha = settings().false_alarm_rate
    try:
        reference = tables.read_reference(open_bundle(given.bundle, verify=False))
    except VisionloopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    found = false_alarms(reference, given.splits, alpha)
    print(f"{found} false alarms in {given.splits} null splits of {len(reference)} cases; at most {alpha:.0%} stated")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
