"""Each process of the stack: whether it is up, how often it was started again, and what it uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.metrics.targets import version_of
from flows.process import ProcessStatus

ELSEWHERE = "external"


@dataclass
class Use:
    """Of a process and its descendants: processor time in seconds, those of ended children too; resident bytes."""

    cpu_s: float = 0.0
    memory_bytes: int = 0


class Processes(Collector):
    """`statuses` returns the states of the stack's processes, the supervisor's own first."""

    def __init__(self, statuses: Callable[[], Sequence[ProcessStatus]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterable[Metric]:
        labels = ("process", "model", "version")
        up = GaugeMetricFamily("visionloop_process_up", "1 where it works, or ran to its end", labels=labels)
        state = GaugeMetricFamily("visionloop_process_state", "1 for the state it is in", labels=(*labels, "state"))
        since = GaugeMetricFamily("visionloop_process_ready_time_seconds", "Ready since, unix time", labels=labels)
        memory = GaugeMetricFamily("visionloop_process_memory_bytes", "Resident, with descendants", labels=labels)
        restarts = CounterMetricFamily("visionloop_process_restarts", "Starts after a death", labels=labels)
        cpu = CounterMetricFamily("visionloop_process_cpu_seconds", "Processor time, descendants' too", labels=labels)
        statuses = self._statuses()
        home, *others = statuses
        used = uses({one.pid for one in others if one.pid})
        used[home.pid] = _alone(home.pid)
        for one in statuses:
            names = (one.name, *version_of(one.name))
            up.add_metric(names, one.ready)
            state.add_metric((*names, one.state), 1)
            if one.state == ELSEWHERE:
                continue
            restarts.add_metric(names, one.restarts)
            if one.since:
                since.add_metric(names, one.since)
            if one.pid in used:
                memory.add_metric(names, used[one.pid].memory_bytes)
                cpu.add_metric(names, used[one.pid].cpu_s)
        return up, state, since, memory, restarts, cpu


def uses(leaders: set[int]) -> dict[int, Use]:
    """What each process uses with all below it. One look at the machine's processes for all of them."""
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    found: dict[int, Use] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            children[process.ppid()].append(process)
            if process.pid in leaders:
                found[process.pid] = Use()
                _add(found[process.pid], process)
    for leader, use in found.items():
        below = list(children[leader])
        for process in below:  # grows while it is walked
            _add(use, process)
            below += children[process.pid]
    return found


def _alone(pid: int) -> Use:
    found = Use()
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        times = process.cpu_times()
        found.cpu_s, found.memory_bytes = times.user + times.system, process.memory_info().rss
    return found


def _add(use: Use, process: psutil.Process) -> None:
    with suppress(psutil.Error):
        times = process.cpu_times()
        use.cpu_s += times.user + times.system
        # Of children that have ended; macOS does not tell.
        use.cpu_s += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        use.memory_bytes += process.memory_info().rss
