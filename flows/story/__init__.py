"""The story page: shows the journal with pictures, live while the loop runs, and as one file afterwards.

A step's facts (`registry.core.journal.fact(step, text, model, **data)`) may carry, in any combination:

    picture=path, caption=str            one picture; a path in the project folder or in `var`
    pictures=[{"picture", "caption"}]    several, side by side
    link=address, label=str              address: http(s), or a file in `var` that the home page serves
    table={"name": value, ...}
    compare={"metric": "Dice", "rows": [{"name", "before", "after"}], "before": "v1", "after": "v2"}
    alarm=True                           sets the fact apart: a drift alarm, a refusal
    history=[{"epoch", "loss", "val_...": ...}]      learning curves
    variants=[registry.versions.bundle.Variant as JSON]     the compression table, the chosen row marked
    granted=bool, reasons=[{"rule", "passed", "found", "expected"}]     a decision

Imports `flows.process`.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.core import journal


def begin(title: str, model: str = "", plan: Sequence[str] = ()) -> None:
    """Starts a new story. Earlier lines of the journal are used for the usual durations only.

    `plan`: for a story of several models, the titles of their steps (`journal.step("model", title, name)`).
    """
    journal.write("story", "", model, title=title, plan=list(plan))


def end(text: str, outcome: str = "done") -> None:
    """Ends the story. Later lines, of a scheduled monitor for example, are shown under "since then"."""
    journal.write("end", "", text=text, outcome=outcome)
