"""A decision is carried out whole, whatever ends the process in the middle: real bundles, a real MLflow, kill -9."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from registry.cases.splits import Shares
from registry.contract import catalog
from registry.core.errors import MissingService
from registry.core.settings import settings
from registry.versions.mlflow_registry import Version, Versions
from serving.releases.deploy import free_port
from tests.bundles import make_tiny_bundle
from tests.conftest import PROJECT
from tests.mlflow_stores import empty_store
from tests.training.conftest import MODEL, enter, lay_out
from tests.training.gate.test_gate import labelled
from tests.waiting import until

GOOD, BETTER, WORSE, BAD = 0.75, 0.5, 0.85, 5.0
"""Thresholds of tiny bundles; 0.5 is the truth of `labelled`."""

MUTATIONS = ("set_registered_model_alias", "delete_registered_model_alias", "set_model_version_tag")
MUTATIONS += ("log_artifact", "update_model_version", "set_tag")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with 12 held-out scans; MLflow without a server."""
    folder = tmp_path / "data" / MODEL
    folder.mkdir(parents=True)
    lay_out(tmp_path, tmp_path)
    enter(monkeypatch, tmp_path)
    empty_store(tmp_path / "var" / "mlflow" / "mlflow.db")
    data = catalog.get(MODEL).data
    data.synthesise(folder, {"seed": 1, "train": 1, "val": 0, "test": 0})
    data.add(folder, [labelled(seed) for seed in range(12)], "starter", Shares(0, 1))
    yield tmp_path
    settings.cache_clear()


def register(root: Path, threshold: float, note: str = "") -> Version:
    return Versions().register(make_tiny_bundle(root / f"bundle-{threshold}-{note}", note, threshold))


def decide(version: Version, **how: Any) -> bool:
    from flows import steps

    return steps.decide(version, "a test", "to see", **how)


def aliases() -> dict[str, int]:
    return {alias: version.number for version in Versions().list(MODEL) for alias in version.aliases}


def state(version: Version) -> dict[str, Any]:
    """What the world says of a version, in four places."""
    from mlflow import MlflowClient

    from flows import steps

    found = steps.latest_decision(version) or {}
    tags = Versions().tags(version)
    page = settings().var / "decisions" / MODEL / str(tags.get("decision_page"))
    client = MlflowClient(settings().mlflow_address)
    return {
        "granted": found.get("granted"),
        "tags": [tags.get("decision"), tags.get("decision_id") == found.get("id")],
        "page": page.is_file() and page.stem == found.get("id") and "granted" in page.read_text(),
        "attached": sorted(Path(a.path).suffix for a in client.list_artifacts(version.run_id, "decisions")),
        "aliases": aliases(),
    }


def whole(version: Version, before: int) -> dict[str, Any]:
    """`state` as it should be: granted, and champion after `before`."""
    return {
        "granted": True,
        "tags": ["granted", True],
        "page": True,
        "attached": [".html", ".json"],
        "aliases": {"champion": version.number, "previous": before},
    }


def kill_at_each_point(out: Path, *, again: bool) -> None:
    """Runs in a process of its own: `decide` in a child that dies before its n-th change of anything, then once more.

    Forked where everything is imported that the first one to end needed, so that a point costs a second and not ten.
    """
    from mlflow import MlflowClient
    from sqlalchemy.orm import configure_mappers

    import registry.versions.decision

    def dying() -> None:
        left = [point]

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return function(*args, **kwargs)

            return call

        for name in MUTATIONS:
            setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))
        registry.versions.decision.write_file = counted(registry.versions.decision.write_file)
        decide(Versions().get(MODEL, 3), again=again)

    def finishing() -> None:
        champion = decide(Versions().get(MODEL, 3), again=again)
        found = {"champion": champion, **state(Versions().get(MODEL, 3))}
        out.joinpath(f"{name}.json").write_text(json.dumps(found))
        out.joinpath("imported").write_text(" ".join(sys.modules))

    var, kept, point, name = settings().var, settings().root / "kept", 0, 0
    if again:
        assert _forked(lambda: Versions().promote(Versions().get(MODEL, 3))) == 0
        assert _forked(lambda: Versions().roll_back(MODEL)) == 0
    shutil.copytree(var, kept)
    code, compared = -signal.SIGKILL, False
    while code == -signal.SIGKILL:
        shutil.rmtree(var)
        shutil.copytree(kept, var)
        code = _forked(dying)
        assert code in (0, -signal.SIGKILL), code
        if not compared and list(var.glob("decisions/*/*.json")):
            # The comparison changes nothing else: the points after it begin here, without its seconds.
            shutil.rmtree(kept)
            shutil.copytree(var, kept)
            compared, point = True, -1
        assert _forked(finishing) == 0
        if name == 0:
            for module in out.joinpath("imported").read_text().split():
                with suppress(Exception):
                    importlib.import_module(module)
            configure_mappers()
        point, name = point + 1, name + 1


def _forked(function: Callable[[], object]) -> int:
    """Its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["first", "again"])
def test_killed_at_any_point_it_ends_the_same(root: Path, tmp_path: Path, again: bool) -> None:
    """The first time; and after a rollback, where the version that takes over is `previous` until then."""
    first, second, third = register(root, WORSE), register(root, GOOD), register(root, BETTER)
    Versions().promote(first)
    Versions().promote(second)
    out = tmp_path / "out"
    out.mkdir()
    where = {name: value for name, value in os.environ.items() if name.startswith("VISIONLOOP_")}
    command = [sys.executable, "-m", "tests.flows.steps.test_deciding", str(out), json.dumps(where), str(again)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ends = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    # Two files, two tags before the alias and two aliases, two attachments, three tags, and no kill at all.
    assert len(ends) >= 11
    for point, found in ends.items():
        assert found == {"champion": True, **whole(third, second.number)}, f"killed at point {point}"


def test_a_page_of_another_registry_says_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers begin at 1 again in a new MLflow."""
    assert decide(register(root, BETTER))
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", f"sqlite:///{root / 'var' / 'mlflow' / 'another.db'}")
    settings.cache_clear()
    other = register(root, BAD)
    assert other.number == 1
    assert not decide(other)
    assert "champion" not in aliases()


def test_what_an_operator_took_back_stays_so_until_a_person_asks(root: Path) -> None:
    worst, middle, best = register(root, WORSE), register(root, GOOD), register(root, BETTER)
    assert decide(worst)
    assert decide(middle)
    Versions().roll_back(MODEL)
    assert not decide(middle)  # a run of the loop without a change
    assert aliases()["champion"] == worst.number
    assert decide(middle, again=True)  # `visionloop promote`
    assert aliases() == {"champion": middle.number, "previous": worst.number, "challenger": best.number}
    # Against another champion an earlier word counts for nothing: the gate compares anew.
    assert decide(best)
    assert not decide(middle, again=True)
    assert aliases()["champion"] == best.number


def test_a_champion_without_a_page_stays_what_it_is(root: Path) -> None:
    """Promoted before pages had a digest: it is not compared with itself."""
    version = register(root, BETTER)
    Versions().promote(version)
    assert decide(version, again=True)
    assert not list(settings().var.glob("decisions/*/*.json"))


def test_mlflow_may_stop_in_the_middle(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is gone when the page is attached; after its return the same command goes on."""
    port = str(free_port())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", f"http://127.0.0.1:{port}")
    settings.cache_clear()
    with serving_mlflow(root, port) as server:
        version = register(root, BETTER)

        def attach(self: Versions, *args: Any) -> None:
            server.kill()
            server.wait()
            original(self, *args)

        original = Versions.attach
        monkeypatch.setattr(Versions, "attach", attach)
        with pytest.raises(MissingService, match="visionloop up"):
            decide(version)
        monkeypatch.setattr(Versions, "attach", original)
    with serving_mlflow(root, port):
        assert decide(version)
        assert state(version)["tags"] == ["granted", True]
        assert aliases() == {"champion": version.number}
        links_go_around(version)


def links_go_around(version: Version) -> None:
    """From the version to its run and to the page, from the run to both, from the page to both."""
    from mlflow import MlflowClient

    client = MlflowClient(settings().mlflow_address)
    run = client.get_run(version.run_id)
    entry = client.get_model_version(MODEL, str(version.number))
    run_page, version_page = (
        f"#/experiments/{run.info.experiment_id}/runs/{version.run_id}",
        f"#/models/{MODEL}/versions/1",
    )
    page = settings().var / "decisions" / MODEL / entry.tags["decision_page"]
    note = run.data.tags["mlflow.note.content"]
    assert run_page in entry.description
    assert version_page in note
    for text in (entry.description, note):
        assert f"{settings().home_address}/decisions/{MODEL}/{page.name}" in text
    assert f"{settings().mlflow_address}/{run_page}" in page.read_text()
    assert f"{settings().mlflow_address}/{version_page}" in page.read_text()


@contextmanager
def serving_mlflow(root: Path, port: str) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server as the stack starts it."""
    store, artifacts = f"sqlite:///{root / 'var' / 'mlflow' / 'mlflow.db'}", root / "var" / "mlflow" / "artifacts"
    command = [sys.executable, "-m", "flows.stack.mlflow_server", "--host", "127.0.0.1", "--port", port]
    with subprocess.Popen([*command, "--store", store, "--artifacts", str(artifacts)], cwd=PROJECT) as server:
        try:
            until(lambda: urlopen(f"http://127.0.0.1:{port}/health").status == 200, 120, errors=(OSError,))
            yield server
        finally:
            server.kill()


if __name__ == "__main__":
    os.environ.update(json.loads(sys.argv[2]))  # the tests' conftest removed them at import
    kill_at_each_point(Path(sys.argv[1]), again=sys.argv[3] == "True")
