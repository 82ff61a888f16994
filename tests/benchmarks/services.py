"""`python -m tests.benchmarks.services [MODEL ...]`: our service beside others, in one run.

All serve the same version on one machine and get the same picture. Each round asks each of them in turn, so
that a busy moment hits all. Figures are medians over rounds. It measures the models that have a champion (`make demo`
makes one, `make demo-all` all) and needs MLflow (`visionloop up`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from flows.champions import champions
from registry.contract import catalog
from registry.core.errors import MissingService, VisionloopError
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.mlflow_registry import Version, Versions
from serving.releases.deploy import free_port
from serving.releases.packaging import package
from tests.benchmarks import rivals
from tests.benchmarks.load import (
    CLIENTS,
    Call,
    callers,
    ended_in_order,
    p50,
    rate,
    run_to_end,
    running,
    running_service,
)

BOUNDARY = "visionloop-bench"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass
class Way:
    """One way to serve, and its figures: one entry per round, in milliseconds and answers per second."""

    name: str
    make: Callable[[], Call]
    body: bytes
    clients: int = CLIENTS
    p50_ms: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)

    def measure(self, calls: int) -> None:
        """One round."""
        self.p50_ms.append(p50(self.make, self.body, calls))
        self.per_s.append(rate(self.make, self.body, calls, self.clients))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="default: all that have a champion")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=40, help="per way and round")
    options = parser.parse_args()
    ended_in_order()
    settings().apply_environment()
    versions, failures = Versions(), 0
    try:
        if settings().mlflow_address.startswith("http") and champions() is None:  # its own client tries for minutes
            raise MissingService(
                f"MLflow does not answer at {settings().mlflow_address}",
                expected="the registry with the champions to measure",
                fix="`visionloop up` starts it",
            )
        chosen, absent = there(versions, options.models)
    except VisionloopError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    if absent:
        print(f"left out, without a champion: {', '.join(absent)}", file=sys.stderr)
    if not chosen:
        print("nothing to measure yet: `make demo` makes a version of one model, `make demo-all` of all")
    for version in chosen:
        print(f"\n## {version.model}\n", flush=True)
        try:
            bundle = versions.fetch(version)
            ours = [sys.executable, "-m", "tests.benchmarks.service", "--bundle", str(bundle.path)]
            ours += ["--rounds", str(options.rounds), "--calls", str(options.calls)]
            failures += bool(run_to_end(ours))
            print("\n" + against(version, bundle, options.rounds, options.calls), flush=True)
        except VisionloopError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            failures += 1
    return failures


def there(versions: Versions, named: list[str]) -> tuple[list[Version], list[str]]:
    """The champions of the named models, or of all, and the names of those without a champion.

    Raises:
        NotFound: a named model does not exist, or has no champion.
        MissingService: MLflow does not answer.
    """
    if named:
        return [versions.get(catalog.get(model).name) for model in named], []
    found = {model: versions.find(model) for model in catalog.names()}
    return [version for version in found.values() if version], [
        model for model, version in found.items() if not version
    ]


def against(version: Version, bundle: Bundle, rounds: int, calls: int) -> str:
    """The table, as Markdown. Raises MissingService: one of them does not start."""
    sample = bundle.samples[0] / "input"
    with ExitStack() as stack:
        ways = list(_ways(stack, version, bundle, sample))
        for way in ways:
            way.make()(way.body)  # warm
        for number in range(rounds):
            for way in ways:
                way.measure(calls)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return _table(bundle, ways, rounds, calls)


def _ways(stack: ExitStack, version: Version, bundle: Bundle, sample: Path) -> Iterator[Way]:
    body = sample.read_bytes()
    service, _ = stack.enter_context(running_service(package(version, bundle)))
    yield Way("visionloop, served", callers(service, "/predict"), body)

    port = stack.enter_context(_mlflow(version))
    asked = json.dumps({"inputs": [str(sample)]}).encode()  # a path: our pyfunc reads it, nothing is sent
    yield Way(
        "`mlflow models serve`, same version",
        callers(port, "/invocations", {"Content-Type": "application/json"}),
        asked,
    )

    form = _form(sample.name, body)
    for name, title in (("fastapi", "FastAPI"), ("litserve", "LitServe")):
        argv = [
            sys.executable,
            "-m",
            "tests.benchmarks.rivals",
            name,
            "--bundle",
            str(bundle.path),
            "--port",
            str(port := free_port()),
        ]
        stack.enter_context(running(argv, port, "/health"))
        yield Way(f"{title}, {_framework(bundle)} eager", callers(port, "/predict", MULTIPART), form)

    if catalog.get(version.model).framework == "ultralytics":
        loop = rivals.ultralytics(bundle)
        loop(body)
        yield Way("ultralytics' `predict` in a loop, no HTTP", lambda: loop, body, clients=1)


def _mlflow(version: Version) -> AbstractContextManager[int]:
    port = free_port()
    argv = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{version.model}/{version.number}"]
    argv += ["--env-manager", "local", "--port", str(port), "--host", "127.0.0.1"]
    return running(argv, port, "/ping", settings().child_environment())  # with uvicorn on its PATH


def _form(name: str, body: bytes) -> bytes:
    """A multipart form with one file in the field `request`."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="request"; filename="{name}"\r\n'
    return f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()


def _framework(bundle: Bundle) -> str:
    return "Keras" if catalog.get(bundle.manifest.model).framework == "keras" else "torch"


def _table(bundle: Bundle, ways: list[Way], rounds: int, calls: int) -> str:
    manifest, ours = bundle.manifest, ways[0]
    rows = []
    for way in ways:
        middle, pace = statistics.median(way.p50_ms), statistics.median(way.per_s)
        spread = f"{min(way.p50_ms):.2f} to {max(way.p50_ms):.2f}"
        slower = middle / statistics.median(ours.p50_ms)
        fewer = pace / statistics.median(ours.per_s)
        rows.append(f"| {way.name} | {middle:.2f} ({spread}) | {slower:.2f} | {pace:.0f} | {fewer:.2f} |")
    return (
        f"{manifest.model}, ours with {manifest.engine} in {manifest.numerics}; medians of {rounds} interleaved rounds "
        f"of {calls} calls, throughput with {CLIENTS} clients.\n\n"
        "| what | p50 ms (min to max) | x ours | answers /s | x ours |\n|---|---|---|---|---|\n" + "\n".join(rows)
    )


if __name__ == "__main__":
    sys.exit(main())
