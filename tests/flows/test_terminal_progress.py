"""What a run prints where no person looks at a terminal: plain lines, and how long a step will take."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from flows import terminal_progress
from flows.terminal_progress import show_progress
from registry.core import journal
from registry.core.settings import Settings
from tests.waiting import until

MODEL = "skin_segmentation"


@pytest.fixture
def output(config: Settings, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The file that stands for the terminal; a step that takes long gets a line every 0.3 seconds."""
    monkeypatch.setattr(terminal_progress, "PLAIN_EVERY_S", 0.3)
    return io.StringIO()


def test_a_long_step_prints_plain_lines_into_a_file(output: io.StringIO) -> None:
    with show_progress(Console(file=output)), journal.step("train", "Training", MODEL):
        journal.progress("train", 30, 400, "steps", "epoch 3/40, loss 0.71", MODEL)
        until(lambda: output.getvalue().count("epoch 3/40, loss 0.71") > 1, 10)
        journal.progress("train", 40, 400, "steps", "epoch 4/40, loss 0.69", MODEL)
        until(lambda: "Training: 40/400 steps, epoch 4/40, loss 0.69, " in output.getvalue(), 10)
    assert not [one for one in output.getvalue() if ord(one) < 32 and one != "\n"]


def test_a_step_that_counts_nothing_says_how_long_it_has_been_at_work(output: io.StringIO) -> None:
    with show_progress(Console(file=output)), journal.step("data", "Import [photos]", MODEL):
        until(lambda: "Import [photos]: 0 s" in output.getvalue() or "Import [photos]: 1 s" in output.getvalue(), 10)


def test_a_short_step_prints_its_beginning_and_its_end_only(config: Settings) -> None:
    output = io.StringIO()
    with show_progress(Console(file=output)), journal.step("train", "Training", MODEL):
        journal.progress("train", 1, 2, "steps", "", MODEL)
        time.sleep(0.5)
    assert len(output.getvalue().splitlines()) == 2


def test_a_training_is_limited_until_one_was_measured(config: Settings) -> None:
    def printed() -> str:
        output = io.StringIO()
        with show_progress(Console(file=output)), journal.step("train", "Training", MODEL, limit_s=615):
            pass
        return output.getvalue()

    assert "Training (at most 615 s)" in printed()
    journal.write("finish", "train", MODEL, title="Training", seconds=300.0, outcome="skipped", note="")
    journal.write("finish", "train", "another", title="Training", seconds=300.0, outcome="done", note="")
    assert "Training\n" in printed(), "the first was done at once"
    for _ in range(5):
        journal.write("finish", "train", MODEL, title="Training", seconds=300.0, outcome="done", note="")
    assert "Training (usually 300 s)" in printed()


def test_a_guess_is_no_measurement(config: Settings) -> None:
    output = io.StringIO()
    with show_progress(Console(file=output)), journal.step("validate", "Check the data", MODEL, usually_s=8):
        pass
    assert "Check the data (about 8 s)" in output.getvalue()


def test_a_damaged_journal_is_no_measurement(config: Settings) -> None:
    path: Path = journal.path()
    path.parent.mkdir(parents=True)
    path.write_text('"kind": "finish", "step"\n{"kind": "finish", "step": "train"}\n')
    assert journal.measured_s("train", "Training", MODEL) is None
