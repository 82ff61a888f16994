"""`python -m tests.benchmarks.service [--bundle FOLDER]`: what serving adds to the bare work, as a table.

In each round the ways take turns of five calls, so that a busy moment of the machine hits all. Figures are medians over
rounds. The services run in a scratch folder with a database of their own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from registry.core import database
from registry.core.closure import project_folder
from registry.core.errors import BadInput, BundleError
from registry.core.runtime import default_threads
from registry.core.settings import settings
from registry.versions.bundle import Bundle, open_bundle
from registry.versions.explain import explain
from registry.versions.predictor import Predictor
from serving.releases import endpoints, store
from serving.releases.deploy import free_port
from serving.releases.packaging import package
from serving.service.batching import BatchingPredictor
from tests.benchmarks.load import (
    CLIENTS,
    Call,
    callers,
    ended_in_order,
    in_turns,
    p50,
    rate,
    run_to_end,
    running,
    running_service,
)

ECHO = """
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def echo(request):
    return JSONResponse({{"bytes": len(await request.body())}})

app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
uvicorn.run(app, host="127.0.0.1", port={port}, log_level="critical")
"""


@dataclass(frozen=True)
class Unregistered:
    """The version number that the bench packages a bundle under."""

    model: str
    number: int = 1


@dataclass
class Figures:
    """One entry per round. Milliseconds, except `*_per_s` and `*_start_s`."""

    echo_ms: list[float] = field(default_factory=list)
    in_process_ms: list[float] = field(default_factory=list)
    batching_ms: list[float] = field(default_factory=list)
    explained_ms: list[float] = field(default_factory=list)
    served_ms: list[float] = field(default_factory=list)
    routed_ms: list[float] = field(default_factory=list)
    loop_per_s: list[float] = field(default_factory=list)
    batching_per_s: list[float] = field(default_factory=list)
    served_per_s: list[float] = field(default_factory=list)
    routed_per_s: list[float] = field(default_factory=list)
    bare_start_s: list[float] = field(default_factory=list)
    served_start_s: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="skin_segmentation")
    parser.add_argument("--bundle", type=Path, help="a bundle folder. Default: the champion's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=60, help="calls per way and round")
    parser.add_argument("--isolated", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    ended_in_order()
    if options.isolated:
        print(measure(open_bundle(options.bundle), options.rounds, options.calls))
        return
    folder = options.bundle.resolve() if options.bundle else _champion(options.model).path
    base = settings().var / "bench"
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as scratch:
        here = settings().model_copy(update={"var": Path(scratch)})
        # A process of its own, since settings are read once: its services must not write to the real database.
        command = [sys.executable, "-m", "tests.benchmarks.service", "--isolated", "--bundle", str(folder)]
        command += ["--rounds", str(options.rounds), "--calls", str(options.calls)]
        environment = {**here.child_environment(), "VISIONLOOP_ROUTER_PORT": str(free_port())}
        sys.exit(run_to_end(command, environment))


def _champion(model: str) -> Bundle:
    from registry.versions.mlflow_registry import Versions

    versions = Versions()
    return versions.fetch(versions.get(model))


def measure(bundle: Bundle, rounds: int, calls: int) -> str:
    """The table, as Markdown."""
    database.migrate()
    version = Unregistered(bundle.manifest.model)
    tag = package(version, bundle)
    predictor, figures = Predictor(bundle, settings().threads), Figures()
    body = _sample(bundle, predictor)
    batching = BatchingPredictor(bundle, settings().threads)
    path = f"/v1/models/{version.model}/predict"
    with ExitStack() as stack:
        keeper = stack.enter_context(subprocess.Popen([sys.executable, "-m", "serving.launchers.keeper"]))
        stack.callback(keeper.terminate)
        service, _ = stack.enter_context(running_service(tag))
        echo = stack.enter_context(running([sys.executable, "-c", ECHO.format(port=(port := free_port()))], port, "/"))
        endpoints.announce(version.model, version.number, f"http://127.0.0.1:{service}", tag)
        store.switch(version.model, version.number)
        command = [sys.executable, "-m", "serving.launchers.router"]
        router = stack.enter_context(running(command, settings().router_port, "/healthz"))
        alone: dict[str, Callable[[], Call]] = {
            "echo_ms": callers(echo, "/"),
            "in_process_ms": lambda: predictor,
            "batching_ms": lambda: batching,
            "served_ms": callers(service, "/predict"),
            "routed_ms": callers(router, path),
        }
        several: dict[str, Callable[[], Call]] = {
            "batching_per_s": lambda: batching,
            "served_per_s": callers(service, "/predict"),
            "routed_per_s": callers(router, path),
        }
        for make in (*alone.values(), *several.values()):
            rate(make, body, 10, CLIENTS)  # warm
        for n in range(rounds):
            for name, milliseconds in in_turns(alone, body, calls).items():
                getattr(figures, name).append(milliseconds)
            figures.loop_per_s.append(max(rate(lambda: predictor, body, calls, k) for k in (1, 2, default_threads())))
            for name, make in several.items():
                getattr(figures, name).append(rate(make, body, calls, CLIENTS))
            figures.explained_ms.append(p50(lambda: partial(explain, predictor), body, max(3, calls // 20)))
            print(f"round {n + 1} of {rounds}", file=sys.stderr)
    for _ in range(min(rounds, 5)):
        figures.bare_start_s.append(_bare_start(bundle))
        with running_service(tag) as (_, seconds):
            figures.served_start_s.append(seconds)
    return _table(bundle, body, figures, rounds, calls)


def _sample(bundle: Bundle, predictor: Predictor) -> bytes:
    """The first golden sample that can be explained. Some have no face, for example."""
    for folder in bundle.samples:
        body = (folder / "input").read_bytes()
        with suppress(BadInput):
            explain(predictor, body)
            return body
    raise BundleError(f"no golden sample of {bundle.path} can be explained", fix="name another bundle with --bundle")


def _bare_start(bundle: Bundle) -> float:
    """Seconds for a script that loads the bundle and predicts once."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom registry.versions.predictor import Predictor\n"
        "folder = Path(sys.argv[1])\nPredictor.load(folder)(next(folder.glob('samples/*/input')).read_bytes())\n"
    )
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", script, str(bundle.path)], cwd=project_folder(), check=True)
    return time.perf_counter() - began


def _table(bundle: Bundle, body: bytes, found: Figures, rounds: int, calls: int) -> str:
    m = {name: statistics.median(values) for name, values in vars(found).items()}
    manifest = bundle.manifest
    adds, routing = m["served_ms"] - m["in_process_ms"], m["routed_ms"] - m["served_ms"]
    rates = ("served_per_s", "routed_per_s", "batching_per_s")
    by_loop = {name: f"{m[name] / m['loop_per_s']:.2f} x the loop" for name in rates}
    rows = [
        ("Starlette echo of the same body, p50", f"{m['echo_ms']:.2f} ms", "", ""),
        ("in process (bytes to result), p50", f"{m['in_process_ms']:.2f} ms", "", ""),
        (
            "in process, batching, one caller, p50",
            f"{m['batching_ms']:.2f} ms",
            f"{m['batching_ms'] / m['in_process_ms']:.2f} x unbatched",
            "<= 1.10",
        ),
        (
            "in process with its explanation, p50",
            f"{m['explained_ms']:.0f} ms",
            f"{m['explained_ms'] / m['in_process_ms']:.1f} x in process",
            "",
        ),
        (
            "served, p50",
            f"{m['served_ms']:.2f} ms",
            f"{m['served_ms'] / m['in_process_ms']:.2f} x in process",
            "<= 1.15",
        ),
        ("what serving adds, p50", f"{adds:.2f} ms", f"{adds / m['echo_ms']:.2f} x echo", "<= 2.5 below 20 ms"),
        ("through the router, p50", f"{m['routed_ms']:.2f} ms", f"{routing:+.2f} ms", "<= +3 ms"),
        ("best in-process loop", f"{m['loop_per_s']:.0f} /s", "", ""),
        (f"in process, batching, {CLIENTS} callers", f"{m['batching_per_s']:.0f} /s", by_loop["batching_per_s"], ""),
        (f"served, {CLIENTS} clients", f"{m['served_per_s']:.0f} /s", by_loop["served_per_s"], ">= 0.90"),
        (f"routed, {CLIENTS} clients", f"{m['routed_per_s']:.0f} /s", by_loop["routed_per_s"], ""),
        ("bare script: load and predict once", f"{m['bare_start_s']:.2f} s", "", ""),
        (
            "service: start to first answer",
            f"{m['served_start_s']:.2f} s",
            f"{m['served_start_s'] / m['bare_start_s']:.2f} x the script",
            "<= 1.5",
        ),
    ]
    head = (
        f"{manifest.model}, {manifest.engine} in {manifest.numerics}, {settings().threads or default_threads()} "
        f"threads, input of {len(body) / 1000:.0f} kB; medians of {rounds} interleaved rounds of {calls} calls.\n\n"
        "| what | measured | ratio | goal |\n|---|---|---|---|\n"
    )
    return head + "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
