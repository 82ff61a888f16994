"""The story: journal lines become steps."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from flows import story
from flows.process import ProcessStatus
from flows.story.story import PLAN, Reader, Story
from flows.story.view import Page
from registry.core import journal
from registry.core.settings import Settings

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def told(config: Settings) -> Story:
    return Reader(config.var / "journal.jsonl").read()


def picture(config: Settings, name: str = "p.png") -> Path:
    path = config.var / "story" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PIXEL)
    return path


def test_a_step_runs_and_is_done_with_its_time_and_facts(config: Settings) -> None:
    with journal.step("data", "Make the data", usually_s=12):
        journal.progress("data", 3, 12, "cases", "phantom 3")
        running = told(config).steps[0]
        assert (running.state, running.share, running.usually_s) == ("running", 0.25, 12)
        assert (running.doing, running.unit) == ("phantom 3", "cases")
        journal.fact("data", "12 cases", table={"cases": 12})
    done = told(config).steps[0]
    assert (done.state, done.share, done.title) == ("done", 1.0, "Make the data")
    assert done.seconds > 0
    assert [fact.text for fact in done.facts] == ["12 cases"]


def test_a_failed_step_says_why_and_a_skipped_one_too(config: Settings) -> None:
    with pytest.raises(RuntimeError), journal.step("validate", "Check"):
        raise RuntimeError("3 masks have another shape\nand more")
    with journal.step("train", "Train") as step:
        step.skip("nothing changed")
    states = {step.name: (step.state, step.note) for step in told(config).steps}
    assert states == {"validate": ("failed", "3 masks have another shape"), "train": ("skipped", "nothing changed")}


def test_what_is_still_to_come_is_pending_in_order(config: Settings) -> None:
    story.begin("The whole loop", "skin_segmentation")
    with journal.step("stack", "Start"):
        pass
    with journal.step("data", "Data"):
        names = [step.name for step in told(config).steps]
    assert names == list(PLAN)
    assert [step.state for step in told(config).steps][2:] == ["pending"] * (len(PLAN) - 2)


def test_steps_inside_a_retraining_are_its_parts_in_the_order_they_came(config: Settings) -> None:
    with journal.step("retrain", "Retrain"):
        journal.fact("retrain", "40 labels")
        with journal.step("train", "Fine-tune"):
            journal.fact("train", "33 s")
        journal.fact("retrain", "better")
    (retraining,) = [step for step in told(config).steps if step.state != "pending"]
    assert [getattr(one, "text", None) or one.title for one in retraining.events] == [
        "40 labels",
        "Fine-tune",
        "better",
    ]
    assert retraining.parts[0].facts[0].text == "33 s"


def test_steps_that_overlap_stay_apart(config: Settings) -> None:
    journal.write("start", "stack", title="Start the stack")
    with journal.step("data", "Data"):
        pass
    journal.write("finish", "stack", seconds=9.0, outcome="done")
    states = {step.name: step.state for step in told(config).steps if step.state != "pending"}
    assert states == {"stack": "done", "data": "done"}


def test_what_is_said_under_a_finished_steps_name_belongs_to_the_one_that_runs(config: Settings) -> None:
    with journal.step("monitor", "Look"):
        journal.fact("monitor", "drift")
    with journal.step("quiet", "Look again"):
        journal.fact("monitor", "no drift")
    assert {step.name: step.facts[0].text for step in told(config).steps if step.facts} == {
        "monitor": "drift",
        "quiet": "no drift",
    }


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def test_a_step_whose_process_is_gone_is_not_shown_as_running(config: Settings) -> None:
    journal.write("start", "train", title="Train", pid=dead_pid())
    (train,) = told(config).steps
    assert (train.state, train.note) == ("failed", "did not finish")


def test_a_step_whose_process_was_killed_does_not_run_for_ever(config: Settings) -> None:
    journal.write("start", "train", title="Train", pid=dead_pid())
    with journal.step("train", "Train again"):
        pass
    story.end("over")
    first, second = told(config).steps
    assert (first.state, first.note) == ("failed", "did not finish")
    assert second.state == "done"


def test_a_new_story_starts_afresh_but_knows_how_long_things_took(config: Settings) -> None:
    story.begin("First")
    journal.write("start", "train", title="Train")
    journal.write("finish", "train", seconds=70.0, outcome="done")
    story.end("done")
    story.begin("Second")
    journal.write("start", "train", title="Train")
    found = told(config)
    assert found.title == "Second"
    (train,) = [step for step in found.steps if step.name == "train"]
    assert (train.state, train.usually_s) == ("running", 70.0)


def test_what_happens_after_the_end_is_told_apart(config: Settings) -> None:
    story.begin("Loop")
    with journal.step("train", "Train"):
        pass
    story.end("all well")
    with journal.step("monitor", "Scheduled check"):
        pass
    found = told(config)
    assert (found.closing, [step.title for step in found.since]) == ("all well", ["Scheduled check"])
    assert [step.name for step in found.steps] == ["train"]


def test_another_runs_steps_errors_and_end_do_not_walk_into_a_story(config: Settings) -> None:
    """A scheduled monitor of the same model, and the training of another one, while a story is told."""
    with journal.run() as mine:
        story.begin("Ours", "skin_segmentation")
        with journal.step("train", "Train", "skin_segmentation"):
            with journal.run("another"):
                with suppress(RuntimeError), journal.step("train", "Train", "fruit_features"):
                    journal.progress("train", 1, 4, model="fruit_features")
                    raise RuntimeError("theirs")
                with journal.step("monitor", "Look", "skin_segmentation"):
                    journal.fact("monitor", "an alarm of another run", "skin_segmentation")
                story.end("theirs is over")
            ours = told(config)
            assert [step.name for step in ours.steps if step.state != "pending"] == ["train"]
            assert (ours.steps[0].state, ours.steps[0].total, ours.ended) == ("running", 0.0, 0.0)
            assert ours.current is ours.steps[0]
            journal.fact("train", "ours", "skin_segmentation")
    ours = told(config)
    assert [fact.text for fact in ours.steps[0].facts] == ["ours"]
    assert [(step.name, step.state) for step in ours.since] == [("train", "failed"), ("monitor", "done")]
    page = Page(config, live=False).document(ours)
    assert page.count("Meanwhile") == 1
    assert "<code>fruit_features</code>" in page

    with journal.run("another"):
        story.begin("Theirs", "fruit_features")
    assert told(config).title == "Theirs"
    assert Reader(config.var / "journal.jsonl", mine).read().title == "Ours"


def test_the_retraining_that_a_story_caused_is_part_of_it(config: Settings) -> None:
    """It runs in another process, under the run that the monitor's event carries."""
    with journal.run() as mine:
        story.begin("Ours", "skin_segmentation")
    code = (
        f"from registry.core import journal\nwith journal.run({mine!r}):\n"
        "    with journal.step('retrain', 'Retrain', 'skin_segmentation'):\n"
        "        with journal.step('train', 'Train', 'skin_segmentation'): pass"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=config.root)
    (retraining,) = [step for step in told(config).steps if step.state != "pending"]
    assert [part.name for part in retraining.parts] == ["train"]


def test_services_stand_where_one_looks_with_what_they_are(config: Settings) -> None:
    service = ProcessStatus("skin_segmentation-1-0a1b2c3d4e5f", "ready", url="http://127.0.0.1:51111")
    places = Page(config, live=True).places([service, ProcessStatus("keeper", "ready")])
    assert places[-1] == {
        "name": "skin_segmentation version 1",
        "what": "the service of Skin segmentation",
        "url": service.url,
        "state": "ready",
    }
    assert "keeper" not in {place["name"] for place in places}


def test_a_half_written_line_waits_and_a_spoilt_one_is_passed_over(config: Settings) -> None:
    reader = Reader(config.var / "journal.jsonl")
    config.var.mkdir(parents=True)
    line = json.dumps({"time": 1.0, "kind": "start", "step": "train", "title": "Train"})
    journal.path().write_text("{spoilt\n" + line[:20])
    assert not reader.read().has_begun
    with journal.path().open("a") as file:
        file.write(line[20:] + "\n")
    assert reader.read().steps[0].state == "running"


def test_a_journal_that_was_removed_is_read_from_its_beginning(config: Settings) -> None:
    reader = Reader(config.var / "journal.jsonl")
    for number in range(5):
        journal.fact("data", f"a long fact number {number}")
    assert reader.read().has_begun
    journal.path().unlink()
    journal.fact("train", "new")
    assert [step.name for step in reader.read().steps] == ["train"]
