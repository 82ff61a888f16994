"""What is typed wrong: one clear message, and the exit code that belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import execute
from tests.bundles import MODEL, make_scan


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["run", "skin_segmentatoin"], 4, "did you mean 'skin_segmentation'"),
        (["predict", MODEL, "no-such-file.nii.gz"], 3, "there is no file"),
        (["break", MODEL, "--how", "earthquake"], 3, "bias-field"),
        (["demo", MODEL, "--how", "earthquake"], 3, "bias-field"),
        (["demo", "--all", "--how", "noise"], 2, "--how is for the demo of one model"),
        (["demo", "object_detection"], 5, "params.yaml leaves it out"),
        (["predict", MODEL, "scan.nii.gz", "--out", "."], 3, "is a directory"),
        (["predict", MODEL, "scan.nii.gz", "--out", "scan.nii.gz/a/mask.nii.gz"], 3, "scan.nii.gz is not a folder"),
        (["predict", MODEL, "scan.nii.gz", "--explain", "."], 3, "is a directory"),
        (["data", "import", MODEL, "data", "--force", "--group-pattern", "("], 5, "not a regular expression"),
        (["data", "synth", MODEL], 7, "--force"),
        (["data", "import", MODEL, "nowhere", "--force"], 5, "nowhere does not exist"),
    ],
)
def test_each_mistake_gets_one_clear_message(
    workspace: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, says: str
) -> None:
    (workspace / "data" / MODEL / "train" / "case").mkdir(parents=True)
    (workspace / "data" / "note.txt").touch()
    (workspace / "scan.nii.gz").write_bytes(make_scan(1))
    assert execute(argv) == code
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
