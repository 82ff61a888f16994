"""The steps of the loop as plain functions: each does one thing, journals it and returns what the next one needs.

`flows.steps.loop` puts them in order; they know nothing of Prefect.

Imports no other room of this package.
"""

from flows.steps.building import build, ensure_start, prepare_start
from flows.steps.data import active_models, find_verdict, has_data, note_learned, prepare_data, synthesise, take_labels
from flows.steps.deciding import decide, latest_decision, refusal
from flows.steps.holding_out import hold_out
from flows.steps.locks import exclusive, is_busy
from flows.steps.releasing import is_live, release, start_plan
from flows.steps.version import package, register, return_alias
from flows.steps.watching import in_words, pending_reason, unwatched_reason, wait_for, watch

__all__ = [
    "active_models",
    "build",
    "decide",
    "ensure_start",
    "exclusive",
    "find_verdict",
    "has_data",
    "hold_out",
    "in_words",
    "is_busy",
    "is_live",
    "latest_decision",
    "note_learned",
    "package",
    "pending_reason",
    "prepare_data",
    "prepare_start",
    "refusal",
    "register",
    "release",
    "return_alias",
    "start_plan",
    "synthesise",
    "take_labels",
    "unwatched_reason",
    "wait_for",
    "watch",
]
