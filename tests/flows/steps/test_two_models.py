"""Two models at once: each has its own data version, its own locks and its own errors. With the real DVC."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows import steps
from flows.steps import data_versions, dvc_stages
from registry.core import journal
from registry.core.errors import DataError
from registry.core.settings import settings
from registry.datasets.hashing import dvc_hash
from tests.conftest import PROJECT
from tests.waiting import until

DVC_YAML = """
stages:
  validate: {matrix: {model: [one, two]}, cmd: "true", deps: ["data/${item.model}"]}
  train:
    matrix: {model: [one, two]}
    cmd: python ${item.model}.py
    deps: ["data/${item.model}", "${item.model}.py"]
    outs: ["build/${item.model}/train"]
  compress: {matrix: {model: [one, two]}, cmd: "true", deps: ["build/${item.model}/train"]}
  evaluate: {matrix: {model: [one, two]}, cmd: "true", deps: ["build/${item.model}/train"]}
"""
WRITES = (
    "from pathlib import Path; p = Path('build/{0}/train'); p.mkdir(parents=True, exist_ok=True); (p / 'a').touch()"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose stages are scripts of a line."""
    (tmp_path / ".dvc").mkdir()
    config = (PROJECT / ".dvc" / "config").read_text().replace("[core]", "[core]\n    no_scm = true")
    (tmp_path / ".dvc" / "config").write_text(config)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    for model in ("one", "two"):
        (tmp_path / "data" / model).mkdir(parents=True)
        (tmp_path / "data" / model / "case").write_text(f"of {model}")
        (tmp_path / f"{model}.py").write_text(WRITES.format(model))
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    monkeypatch.delenv("VISIONLOOP_VAR", raising=False)
    monkeypatch.chdir(tmp_path.parent)  # where one is does not matter
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def _entries(project: Path) -> dict[str, str]:
    return {out["path"]: out["md5"] for out in yaml.safe_load((project / "data.dvc").read_text())["outs"]}


def test_each_model_has_an_entry_of_its_own(project: Path) -> None:
    two = data_versions.add("two")
    assert two.changed
    assert two.files == 1
    assert _entries(project) == {"data/two": two.md5}
    one = data_versions.add("one")
    assert _entries(project) == {"data/one": one.md5, "data/two": two.md5}
    assert one.md5 == dvc_hash(project / "data" / "one"), "the hash that bundles and decision pages name"
    assert not data_versions.add("one").changed
    assert data_versions.recorded("one") == one.md5
    assert data_versions.recorded("three") is None


def test_the_entry_of_all_data_that_earlier_versions_had_gives_way(project: Path) -> None:
    (project / "data.dvc").write_text("outs:\n- md5: 4f1f6a31e9afab451ff1aa75ffc6aa2c.dir\n  hash: md5\n  path: data\n")
    found = data_versions.add("one")
    assert _entries(project) == {"data/one": found.md5}


def test_what_another_command_reads_of_one_model_keeps_only_that_one_waiting(project: Path) -> None:
    with data_versions.repository():
        pass  # makes DVC's folder for locks
    code = (
        "import sys; from dvc.rwlock import rwlock; from dvc.fs import localfs\n"
        "with rwlock('.dvc/tmp', localfs, 'a training', [sys.argv[1]], [], False):\n"
        "    print('locked', flush=True); sys.stdin.readline()"
    )
    argv = [sys.executable, "-c", code, str(project / "data" / "one")]
    with subprocess.Popen(argv, cwd=project, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "locked\n"
        assert data_versions.add("two").changed
        done = threading.Event()
        waiter = threading.Thread(target=lambda: (data_versions.add("one"), done.set()))
        waiter.start()
        until(lambda: any("DVC is busy" in str(line.get("text")) for line in journal.read()[0]), 60)
        assert not done.is_set()
        reader.communicate("go on\n")
        waiter.join(60)
    assert done.is_set()
    assert set(_entries(project)) == {"data/one", "data/two"}


def test_two_models_are_built_at_once_and_an_error_is_blamed_on_its_own(project: Path) -> None:
    """One of them fails later than the other one's own error stands in the journal."""
    script = (
        "from registry.core import journal; from registry.core.errors import DataError\n"
        "with journal.step('train', 'Train', '{0}'): raise DataError('{0} is bad')"
    )
    for model in ("one", "two"):
        (project / f"{model}.py").write_text(script.format(model))
        data_versions.add(model)
    errors: dict[str, BaseException] = {}

    def build(model: str) -> None:
        with journal.run() as run:
            try:
                dvc_stages.build(model, lambda line: None)
            except BaseException as error:
                errors[model] = error
            mine = [line for line in journal.read()[0] if line["run"] == run]
            assert {line["model"] for line in mine} == {model}

    threads = [threading.Thread(target=build, args=(model,)) for model in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for model in ("one", "two"):
        assert isinstance(errors[model], DataError), errors
        assert errors[model].found == f"{model} is bad"


def test_a_stage_runs_where_the_other_models_have_no_data(project: Path) -> None:
    data_versions.add("one")
    data_versions.add("two")
    (project / "data" / "two" / "case").unlink()
    (project / "data" / "two").rmdir()
    assert dvc_stages.build("one", lambda line: None) == list(dvc_stages.STAGES)
    assert dvc_stages.stale("one") == []
    (project / "one.py").write_text(WRITES.format("one") + "  # changed")
    assert dvc_stages.stale("one") == ["train", "compress", "evaluate"]


def test_a_run_waits_for_another_of_its_model_only(project: Path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with steps.exclusive("one"):
            entered.set()
            go_on.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert entered.wait(10)
    with steps.exclusive("two"):
        pass
    threading.Timer(0.3, go_on.set).start()
    with steps.exclusive("one"):
        assert go_on.is_set()
    holder.join(10)
    assert [line["text"] for line in journal.read()[0]] == ["another run of one is under way; this one waits for it"]
