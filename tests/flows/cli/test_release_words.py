"""The words behind `visionloop release` and `rollback`: an action, a version, or a mistake with exit code 2."""

from __future__ import annotations

import pytest

from flows.cli import execute
from flows.cli.release import ACTIONS
from flows.cli.release_options import parse
from registry.core.errors import UsageError
from registry.core.settings import Settings
from tests.bundles import MODEL


@pytest.mark.parametrize(
    ("words", "action", "versions"),
    [
        ([MODEL], "blue-green", ("champion",)),
        ([MODEL, "2"], "blue-green", ("2",)),
        ([f"{MODEL}@2"], "blue-green", ("2",)),
        ([f"{MODEL}@previous"], "blue-green", ("previous",)),
        ([MODEL, "blue_green", "2"], "blue-green", ("2",)),
        ([f"{MODEL}@2", "canary"], "canary", ("2",)),
        ([f"{MODEL}@2", "ab", "3"], "ab", ("2", "3")),
        ([MODEL, "status"], "status", ()),
    ],
)
def test_a_version_stands_alone_behind_an_action_or_behind_an_at(
    words: list[str], action: str, versions: tuple[str, ...]
) -> None:
    model, what, *more = (*words, None)[: max(2, len(words))]
    assert parse(str(model), what, tuple(map(str, more)), ACTIONS) == (MODEL, action, versions)


@pytest.mark.parametrize("words", [(f"{MODEL}@2", "3"), (f"{MODEL}@", None), (f"{MODEL}@", "canary"), (MODEL, "all2")])
def test_what_is_neither_is_refused(words: tuple[str, str | None]) -> None:
    with pytest.raises(UsageError):
        parse(*words, (), ACTIONS)


@pytest.mark.parametrize("command", ["rollback", "run"])
def test_a_command_for_a_model_says_that_it_takes_no_version(
    config: Settings, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert execute([command, f"{MODEL}@2"]) == UsageError.exit_code == 2
    assert "leave out @2" in capsys.readouterr().err
