"""Reads journal lines into a `Story`: steps with their state, progress and facts."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from registry.core import journal

StepState = Literal["pending", "running", "done", "skipped", "failed"]

PLAN: dict[str, str] = {
    "stack": "Start the stack",
    "data": "Make and version the data",
    "validate": "Check the data",
    "train": "Train",
    "compress": "Compress",
    "evaluate": "Evaluate",
    "register": "Register",
    "decide": "Decide",
    "package": "Package",
    "release": "Release",
    "predict": "Predict",
    "calm": "Normal traffic",
    "calm-verdict": "No alarm on normal traffic",
    "break": "Break the input",
    "monitor": "Notice the drift",
    "retrain": "Retrain",
    "replay": "The stream goes on",
    "quiet": "Quiet again",
}
"""The expected steps of a story, in order. Steps that have not begun are shown as pending."""

CONTAINERS = ("retrain", "model", "rollback")
"""Steps that contain others: a step that starts meanwhile is part of them."""

APART_S = 600.0
"""Lines without a run, such as the guard's, this far apart have nothing to do with each other."""


@dataclass
class Fact:
    text: str
    time: float
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Step:
    """One step of a run. `began`: unix seconds. `seconds`, `usually_s`: durations."""

    key: str
    name: str
    title: str
    model: str = ""
    run: str = ""
    state: StepState = "pending"
    began: float = 0.0
    seconds: float = 0.0
    usually_s: float | None = None
    word: str = "usually"
    """What `usually_s` is: see `registry.core.journal`."""
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    doing: str = ""
    note: str = ""
    facts: list[Fact] = field(default_factory=list)
    parts: list[Step] = field(default_factory=list)
    """Steps that ran inside this one."""
    pid: int = 0

    @property
    def abandoned(self) -> bool:
        """Whether its process is gone although the journal has no end of it."""
        return self.state == "running" and self.pid > 0 and not psutil.pid_exists(self.pid)

    @property
    def latest(self) -> float:
        """When something last happened in it, in unix seconds."""
        return max(
            self.began + self.seconds, *(one.time for one in self.facts), *(one.latest for one in self.parts), 0.0
        )

    @property
    def events(self) -> list[Fact | Step]:
        """Facts and inner steps in the order they came."""
        return sorted([*self.facts, *self.parts], key=lambda one: one.time if isinstance(one, Fact) else one.began)

    @property
    def share(self) -> float:
        """How far it is, 0 to 1: by its own count, or else by its usual duration."""
        if self.state in ("done", "skipped"):
            return 1.0
        if self.total > 0:
            return min(1.0, self.done / self.total)
        if self.usually_s and self.began:
            return min(0.97, (time.time() - self.began) / self.usually_s)
        return 0.0


@dataclass
class Story:
    title: str = ""
    model: str = ""
    run: str = ""
    """The journal's run that it shows."""
    began: float = 0.0
    ended: float = 0.0
    closing: str = ""
    outcome: str = ""
    plan: list[str] = field(default_factory=list)
    """For a story of several models: the titles of their steps."""
    steps: list[Step] = field(default_factory=list)
    since: list[Step] = field(default_factory=list)
    """Steps of other runs, or after the story's end, the latest last."""
    anyway: dict[tuple[str, int], str] = field(default_factory=dict)
    """Model and version -> why it was released without the gate's grant; "" where it has the grant."""

    @property
    def has_begun(self) -> bool:
        """Whether anything has happened at all."""
        return any(step.state != "pending" for step in self.steps)

    @property
    def current(self) -> Step | None:
        """The innermost step that runs now."""
        running = [step for step in walk(self.since if self.ended else self.steps) if step.state == "running"]
        return running[-1] if running else None


def walk(steps: Sequence[Step]) -> list[Step]:
    """Steps and their parts, in order."""
    return [inner for step in steps for inner in (step, *walk(step.parts))]


def _key(name: str, line: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(line.get("run", "")), str(line.get("model", "")), name


def _fail(steps: Sequence[Step]) -> None:
    """Marks steps as failed whose process was killed before it could journal it."""
    for step in steps:
        if step.state == "running":
            step.state, step.note = "failed", "did not finish"


class Reader:
    """Follows a journal: each `read` takes in the new lines. `run`: the run whose story to show. "": the latest."""

    def __init__(self, file: Path | None = None, run: str = "") -> None:
        self._file = file
        self._only = run
        self._offset = 0
        self._past: dict[str, list[float]] = defaultdict(list)
        self._anyway: dict[tuple[str, int], str] = {}
        self._fresh()

    def read(self) -> Story:
        """The story as it stands now."""
        source = self._file or journal.path()
        if source.exists() and source.stat().st_size < self._offset:  # the journal was removed and written anew
            self._offset = 0
            self._past.clear()
            self._anyway.clear()
            self._fresh()
        lines, self._offset = journal.read(self._offset, source)
        for line in lines:
            self._take(line)
        _fail([step for step in walk(self._story.steps + self._story.since) if step.abandoned])
        return self._with_pending()

    def _fresh(self) -> None:
        self._story = Story(anyway=self._anyway)
        self._containers: dict[str, Step] = {}
        """Run -> the container that is open in it."""
        self._latest: dict[tuple[str, str, str], Step] = {}
        """Run, model and name -> the latest step."""
        self._count = 0

    def _take(self, line: dict[str, Any]) -> None:
        kind, when = line.get("kind"), float(line.get("time", 0.0))
        name, run = str(line.get("step", "")), str(line.get("run", ""))
        if kind == "story" and run != self._only != "":
            return
        if kind == "story":
            self._fresh()
            self._story.title, self._story.model = str(line.get("title", "")), str(line.get("model", ""))
            self._story.run = run
            self._story.began, self._story.plan = when, list(line.get("plan") or ())
        elif kind == "end" and run == self._story.run:
            self._story.ended, self._story.closing = when, str(line.get("text", ""))
            self._story.outcome = str(line.get("outcome", "done"))
            self._containers.pop(run, None)
            _fail(walk(self._story.steps))
        elif kind == "start":
            self._start(name, line, when)
        elif kind in ("progress", "fact", "finish"):
            step = self._latest.get(_key(name, line))
            if step is None or (not run and step.state != "running" and when - step.latest > APART_S):
                step = self._start(name, line, when, begun=False)
            getattr(self, f"_{kind}")(step, line, when)

    def _start(self, name: str, line: dict[str, Any], when: float, begun: bool = True) -> Step:
        story, key = self._story, _key(name, line)
        run, mine = key[0], not self._story.title or key[0] == self._story.run
        story.began = story.began or when
        self._count += 1
        past = self._past[f"{name} {line.get('model', '')}"]
        earlier = self._latest.get(key)
        if earlier is not None:
            _fail([earlier])
        step = Step(
            key=f"{name}-{self._count}",
            run=run,
            name=name,
            title=str(line.get("title") or PLAN.get(name) or name.replace("_", " ").capitalize()),
            model=str(line.get("model", "")),
            state="running" if begun else "done",
            began=when,
            pid=int(line.get("pid") or 0),
            usually_s=line.get("usually_s") or (statistics.median(past[-5:]) if past else None),
            word=str(line.get("word") or "usually"),
        )
        container = self._containers.get(run)
        if container is not None and name not in CONTAINERS:
            container.parts.append(step)
        else:
            (story.steps if mine and not story.ended else story.since).append(step)
        if begun and name in CONTAINERS:
            self._containers[run] = step
        self._latest[key] = step
        return step

    def _progress(self, step: Step, line: dict[str, Any], when: float) -> None:
        step.done, step.total = float(line.get("done") or 0), float(line.get("total") or 0)
        step.unit, step.doing = str(line.get("unit", "")), str(line.get("note", ""))

    def _fact(self, step: Step, line: dict[str, Any], when: float) -> None:
        running = [
            one
            for one in self._latest.values()
            if one.state == "running" and one.run == step.run and one is not self._containers.get(step.run)
        ]
        if step.state != "running" and running:
            # The named step is over: the fact belongs to the step that runs now.
            step = max(running, key=lambda one: one.began)
        data = line.get("data") or {}
        step.facts.append(Fact(str(line.get("text", "")), when, data))
        if "anyway" in data:
            self._anyway[step.model, int(data.get("version") or 0)] = str(data["anyway"])

    def _finish(self, step: Step, line: dict[str, Any], when: float) -> None:
        outcome = line.get("outcome", "done")
        step.state = outcome if outcome in ("done", "skipped", "failed") else "done"
        step.seconds = float(line.get("seconds") or 0.0)
        step.note, step.doing = str(line.get("note", "")), ""
        if step.state == "done":
            self._past[f"{step.name} {step.model}"].append(step.seconds)
        if step is self._containers.get(step.run):
            del self._containers[step.run]
            _fail(walk(step.parts))

    def _with_pending(self) -> Story:
        """The story with its pending steps. Steps that ran inside another count as begun."""
        story = self._story
        if not story.steps or story.ended or not story.title:
            return story
        if story.plan:
            number = sum(step.name == "model" for step in story.steps)
            later = [Step(f"model-{title}", "model", title) for title in story.plan[number:]]
            return Story(**{**story.__dict__, "steps": story.steps + later})
        begun = {step.name for step in walk(story.steps)}
        order = list(PLAN)
        reached = max((order.index(step.name) for step in story.steps if step.name in PLAN), default=-1)
        coming = [name for name in order[reached + 1 :] if name not in begun]
        pending = [Step(name, name, PLAN[name], usually_s=self._usually(name)) for name in coming]
        return Story(**{**story.__dict__, "steps": story.steps + pending})

    def _usually(self, name: str) -> float | None:
        past = self._past[f"{name} {self._story.model}"] or self._past[f"{name} "]
        return statistics.median(past) if past else None
