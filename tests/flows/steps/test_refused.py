"""A version that the gate refused: what `promote` says of it, and that it is no challenger any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import execute
from registry.core.settings import settings
from tests.flows.steps.test_deciding import BAD, aliases, decide, register, root
from tests.training.conftest import MODEL

__all__ = ["root"]


def test_a_refused_version_is_no_challenger_and_each_failed_rule_has_a_line_once(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = register(root, BAD)
    assert aliases() == {"challenger": 1}
    assert not decide(version)
    assert aliases() == {}
    assert len(list(settings().var.glob("decisions/*/*.html"))) == 1

    capsys.readouterr()
    assert execute(["promote", MODEL, "--local"]) == 4
    err = capsys.readouterr().err
    assert "waits for the gate's answer" in err
    assert f"`visionloop promote {MODEL}@1`" in err

    assert execute(["promote", f"{MODEL}@1", "--local"]) == 7
    told = capsys.readouterr()
    assert f"{MODEL}@1 was refused on " in told.out
    lines = told.err.splitlines()
    assert lines[0] == f"{MODEL} version 1 refused: metric floor (no champion yet)"
    assert lines[1].startswith("  ✗ metric floor: Dice 0.")
    assert (told.out + told.err).count("metric floor") == 2
