"""What is typed wrong: one clear message, and the exit code that belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import execute
from tests.bundles import MODEL


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["run", "skin_segmentatoin"], 4, "did you mean 'skin_segmentation'"),
        (["predict", MODEL, "no-such-file.nii.gz"], 3, "there is no file"),
        (["break", MODEL, "--how", "earthquake"], 3, "bias-field"),
        (["data", "synth", MODEL], 7, "--force"),
        (["data", "import", MODEL, "nowhere", "--force"], 5, "nothing at nowhere"),
    ],
)
def test_each_mistake_gets_one_clear_message(
    workspace: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, says: str
) -> None:
    (workspace / "data" / MODEL / "train" / "case").mkdir(parents=True)
    assert execute(argv) == code
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
