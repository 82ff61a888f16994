"""The disk, what waits on it, and the energy that the machine used."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.log import spool
from registry.core.settings import Settings

RAPL = Path("/sys/class/powercap")


class Machine(Collector):
    """Args:
    rapl: where Linux shows the energy counters of processors, docs.kernel.org/power/powercap/powercap.html.
    """

    def __init__(self, settings: Settings, rapl: Path = RAPL) -> None:
        self._settings, self._rapl = settings, rapl

    def collect(self) -> Iterable[Metric]:
        return *self._disk(), *_spool(), *self._energy()

    def _disk(self) -> list[Metric]:
        disk = shutil.disk_usage(self._settings.var)
        return [_gauge("disk_free_bytes", "Free where var lies", disk.free), _gauge("disk_bytes", "Size", disk.total)]

    def _energy(self) -> list[Metric]:
        """Joules since the machine started: measured, or nothing. An estimate is a rule of Prometheus' (infra/)."""
        counters = rapl(self._rapl)
        joules = CounterMetricFamily("visionloop_energy_joules", "By the processors' counters", labels=("domain",))
        for domain, value in counters.items():
            joules.add_metric((domain,), value)
        watts = self._settings.watts_per_core
        return [
            joules,
            _gauge("energy_measured", "1 where the processors' counters can be read", bool(counters)),
            _gauge("energy_watts_per_core", "The setting, for an estimate; 0: there is no estimate", watts),
        ]


def rapl(folder: Path = RAPL) -> dict[str, float]:
    """Joules so far of each processor package. Empty where there are no counters, or only root may read them.

    A counter begins anew at `max_energy_range_uj`, after a day or so; Prometheus takes that for a restart.
    """
    found = {}
    for zone in sorted(folder.glob("intel-rapl:*")):
        with suppress(OSError, ValueError):
            if zone.name.count(":") == 1:  # `:0:0` is a part of `:0`
                name = (zone / "name").read_text().strip()
                found[name] = int((zone / "energy_uj").read_text()) / 1e6
    return found


def _spool() -> list[Metric]:
    size = 0
    for path in spool.folder().glob("*.jsonl"):
        with suppress(OSError):  # shipped meanwhile
            size += path.stat().st_size
    since = spool.waits_since()
    return [
        _gauge("spool_bytes", "Predictions that wait for the database", size),
        _gauge("spool_limit_bytes", "From here on the oldest are dropped", spool.max_bytes()),
        _gauge("spool_oldest_seconds", "How long the oldest waits; 0: none", time.time() - since if since else 0),
        CounterMetricFamily(
            "visionloop_spool_dropped", "Predictions dropped by the full spool", value=spool.dropped().predictions
        ),
    ]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"visionloop_{name}", text, value=float(value))
