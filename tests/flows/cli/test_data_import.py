"""`visionloop data import` of other people's pictures, by the command line: a zip in, a versioned data set out."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from flows import steps
from flows.cli import cli
from registry.contract import catalog
from registry.core import journal
from registry.core.errors import DataError
from tests.registry.made import scene

MODEL = "suspect_classification"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Class folders in a zip: two of the model's classes under other names, and one that it lacks."""
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for n in range(30):
            name = ("Knife", "uav", "Kitchen Sink")[n % 3]
            body, _ = scene(np.random.default_rng([6, n]), (("disc", "square", "disc")[n % 3],))
            archive.writestr(f"my data/{name}/{n:02d}.jpg", body)
    return tmp_path / "export.zip"


def visionloop(*argv: str) -> Result:
    return CliRunner().invoke(cli, argv, catch_exceptions=True)


def test_a_zip_becomes_a_data_set_that_passes_the_checks(workspace: Path, export: Path) -> None:
    done = visionloop("data", "import", MODEL, str(export), "--map", "uav=drone", "--val-share", "0.3")
    assert done.exit_code == 0, done.output
    assert "10 training, 6 validation and 4 test cases, 0 without a label" in done.output
    assert "Kitchen Sink (10)" in done.output
    assert "cannot be learnt" in done.output
    cases = catalog.get(MODEL).data.cases(workspace / "data" / MODEL)
    assert {case.truth for case in cases} == {"knife", "drone"}
    assert (workspace / "data.dvc").is_file()
    again = visionloop("data", "import", MODEL, str(export))
    assert "--force" in str(again.exception)


def test_what_fails_the_checks_replaces_nothing(workspace: Path, tmp_path: Path) -> None:
    blank = cv2.imencode(".png", np.full((40, 40, 3), 120, np.uint8))[1].tobytes()
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for n in range(8):
            archive.writestr(f"{('knife', 'drone')[n % 2]}/{n}.jpg", scene(np.random.default_rng(n), ("disc",))[0])
        archive.writestr("knife/blank.png", blank)
    (tmp_path / "bad.zip").write_bytes(body.getvalue())
    done = visionloop("data", "import", MODEL, str(tmp_path / "bad.zip"))
    assert "blank: the picture is all of one value" in str(done.exception)
    assert not (workspace / "data" / MODEL).exists()


def test_a_renaming_that_is_none_is_refused(workspace: Path, export: Path) -> None:
    done = visionloop("data", "import", MODEL, str(export), "--map", "uav")
    assert done.exit_code == 2
    assert "expected THEIRS=OURS" in done.output


def test_a_class_without_a_picture_is_named_until_it_has_one(workspace: Path, export: Path) -> None:
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    (workspace / "params.yaml").write_text(yaml.safe_dump({**params, "models": [MODEL]}))
    line = "no training picture of 7 of the 9 classes, which cannot be learnt: camera, "
    assert line in visionloop("data", "import", MODEL, str(export), "--map", "uav=drone").output
    for command in ("check", "status"):
        done = visionloop("data", command, MODEL)
        assert done.exit_code == 0, done.output
        assert line in done.output, command
    before = journal.end_of_file()
    steps.prepare_data(MODEL)
    assert [one["text"] for one in journal.read(before)[0] if line in str(one.get("text"))], "`run` says it, too"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["missing", "an empty folder", "a picture"])
def test_a_wrong_path_is_refused_while_another_run_holds_the_lock(workspace: Path, tmp_path: Path, kind: str) -> None:
    wrong = tmp_path / kind
    if kind == "an empty folder":
        wrong.mkdir()
    elif kind == "a picture":
        wrong.write_bytes(scene(np.random.default_rng(1), ("disc",))[0])
    other = (
        "import sys, time; from flows import steps\n"
        f"with steps.exclusive({MODEL!r}): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", other], stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == "held\n"
            done = visionloop("data", "import", MODEL, str(wrong), "--force")
        finally:
            run.kill()
    assert isinstance(done.exception, DataError)
    assert kind in done.exception.found
    assert "waits for it" not in done.output
