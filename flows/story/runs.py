"""Groups steps by the run that they belong to: one command, flow, or change by the guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flows.story.story import APART_S, Fact, Step, walk

TELLING = ("monitor", "retrain", "decide", "release", "rollback")
"""Steps whose notes say what came out of a run."""


@dataclass
class Run:
    """The steps of one run, at least one."""

    steps: list[Step] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.steps[0].key

    @property
    def began(self) -> float:
        """Unix seconds."""
        return self.steps[0].began

    @property
    def latest(self) -> float:
        """When something last happened in it, in unix seconds."""
        return max(step.latest for step in self.steps)

    @property
    def model(self) -> str:
        return next((step.model for step in self.steps if step.model), "")

    @property
    def running(self) -> bool:
        return any(step.state == "running" for step in walk(self.steps))

    @property
    def failed(self) -> bool:
        """Whether its last step failed."""
        return self.steps[-1].state == "failed"

    @property
    def alarm(self) -> bool:
        """Whether it raised an alarm: drift, or a rollback by the guard."""
        facts = [fact for step in walk(self.steps) for fact in step.facts]
        return any(fact.data.get("alarm") for fact in facts)

    @property
    def outcome(self) -> str:
        """What came out of it, in words."""
        last = self.steps[-1]
        if self.running:
            current = [step for step in walk(self.steps) if step.state == "running"][-1]
            return f"running: {current.title}"
        if last.state in ("failed", "interrupted"):
            return f"{last.title}: {last.state}" + (f", {last.note}" if last.note else "")
        notes = [step.note for step in self.steps if step.name in TELLING and step.note]
        return "; ".join(notes) or _in_words(last)


def _in_words(step: Step) -> str:
    """What came out of a step without a telling note."""
    said = step.facts[-1:] if not step.note else [Fact(step.note, 0.0)]
    return f"{step.title}: {said[0].text}" if said else step.title


def by_run(steps: Sequence[Step]) -> list[Run]:
    """The runs of steps, in the order of their latest step; those that still run come last."""
    found: list[Run] = []
    known: dict[str, Run] = {}
    for step in steps:
        run = known.get(step.run)
        if run is None or (not step.run and step.began - run.latest > APART_S):
            run = known[step.run] = Run()
            found.append(run)
        run.steps.append(step)
    return sorted(found, key=lambda run: (run.running, run.latest))
