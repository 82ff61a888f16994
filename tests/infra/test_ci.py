"""The workflow for users, and the report that it makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.infra.aws.synth import ENVIRONMENT, MISSING

WORKFLOW = PROJECT / "infra" / "ci" / "visionloop.yml"
REPORT = PROJECT / "infra" / "ci" / "report.sh"
ACTIONLINT = ENVIRONMENT / "bin" / "actionlint"
needs_actionlint = pytest.mark.skipif(not ACTIONLINT.is_file(), reason=MISSING)


@needs_actionlint
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("", "", ""), ("runs-on: ubuntu-24.04", "runs-onn: ubuntu-24.04", "runs-onn"),
     ("inputs.model }}", "inputs.modell }}", "modell"), ("needs: [check, test]", "needs: [check, tests]", "tests")],
    ids=["as it is", "key", "input", "job"],
)  # fmt: skip
def test_actionlint_finds_nothing_but_mistakes(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = WORKFLOW.read_text()
    assert old in text
    path = tmp_path / "visionloop.yml"
    path.write_text(text.replace(old, new, 1) if old else text)
    done = subprocess.run([str(ACTIONLINT), str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not old), done.stdout
    assert words in done.stdout


def test_the_workflow_runs_what_is_here() -> None:
    text = WORKFLOW.read_text()
    targets = (PROJECT / "Makefile").read_text()
    for goal in ("check", "test", "test-heal", "client-wheel", "setup"):
        assert f"run: make {goal}" in text
        assert f"\n{goal}:" in targets
    assert "infra/ci/report.sh" in text


STAGES = """
vars: [build/models.yaml]
stages:
  evaluate:
    foreach: ${sections}
    do:
      cmd: python score.py ${key}
      deps:
        - score.py
      metrics:
        - build/${key}/metrics.json
      plots:
        - build/${key}/curves.csv:
            x: epoch
            y: metric
"""
SCORE = """
import pathlib, sys
folder = pathlib.Path("build", sys.argv[1]); folder.mkdir(exist_ok=True)
(folder / "metrics.json").write_text('{"dice": SCORE}')
(folder / "curves.csv").write_text("epoch,metric\\n1,0.1\\n2,SCORE\\n")
"""
MODELS = """
import pathlib
pathlib.Path("build").mkdir(exist_ok=True); pathlib.Path("build/models.yaml").write_text("sections: {fruit: fruit}")
"""


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_the_report_has_the_figures_of_both_commits(tmp_path: Path) -> None:
    """A clone as CI has it: nothing but git and DVC's remote. DVC and git are real, the project is a small one."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*command: str, folder: Path) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def commit(message: str) -> None:
        run("git", "add", "-A", folder=work)
        run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", message, folder=work)

    work, clone = tmp_path / "work", tmp_path / "clone"
    (work / "training").mkdir(parents=True)
    (work / "training" / "__main__.py").write_text(MODELS)
    (work / "dvc.yaml").write_text(STAGES)
    (work / ".gitignore").write_text("build\n__pycache__\n")
    run("git", "init", "-q", "-b", "main", folder=work)
    run("dvc", "init", "-q", folder=work)
    run("dvc", "config", "core.analytics", "false", folder=work)
    run("dvc", "remote", "add", "-d", "local", str(tmp_path / "remote"), folder=work)
    for score, branch in (("0.5", "main"), ("0.75", "change")):
        if branch != "main":
            run("git", "checkout", "-qb", branch, folder=work)
        (work / "score.py").write_text(SCORE.replace("SCORE", score))
        run(sys.executable, "-m", "training", folder=work)
        run("dvc", "repro", "-q", folder=work)
        run("dvc", "push", "-q", folder=work)
        commit(branch)
    run("git", "clone", "-q", str(work), str(clone), folder=tmp_path)

    before = run("git", "rev-parse", "HEAD", folder=clone)
    report = run("bash", str(REPORT), "origin/main", folder=clone)

    row = next(line for line in report.splitlines() if "metrics.json" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "build/fruit/metrics.json",
        "dice",
        "0.5",
        "0.75",
        "0.25",
    ]
    assert "### Models: HEAD against origin/main" in report
    page = (clone / "plots" / "index.html").read_text()
    assert "0.75" in page
    assert "0.5" in page
    assert run("git", "rev-parse", "HEAD", folder=clone) == before
    assert len(run("git", "worktree", "list", folder=clone).splitlines()) == 1
    shutil.rmtree(clone / "plots")
    assert run("git", "status", "--porcelain", folder=clone) == ""
