"""The steps of the loop as plain functions: each does one thing, journals it and returns what the next one needs.

`flows.steps.loop` puts them in order; they know nothing of Prefect.
"""

from flows.steps.building import build, ensure_start, prepare_start
from flows.steps.data import active, has_data, note_learned, parameters, prepare_data, synthesise, take_labels
from flows.steps.deciding import decide, decided
from flows.steps.holding_out import hold_out
from flows.steps.locks import exclusive, is_busy
from flows.steps.releasing import begin, release, released
from flows.steps.version import package, register, return_alias
from flows.steps.watching import wait_for, waited_for, watch

__all__ = [
    "active",
    "begin",
    "build",
    "decide",
    "decided",
    "ensure_start",
    "exclusive",
    "has_data",
    "hold_out",
    "is_busy",
    "note_learned",
    "package",
    "parameters",
    "prepare_data",
    "prepare_start",
    "register",
    "release",
    "released",
    "return_alias",
    "synthesise",
    "take_labels",
    "wait_for",
    "waited_for",
    "watch",
]
