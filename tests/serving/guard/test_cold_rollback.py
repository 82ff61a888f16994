"""A rollback to a version whose service was stopped: the guard starts it, and the history says what it was."""

from __future__ import annotations

from serving.guard.controller import Controller
from serving.releases import history, store
from tests.bundles import MODEL
from tests.serving import controlled
from tests.serving.conftest import Processes
from tests.serving.guard.test_controller import NO_ROUTER, _name, _old, _roll_out, _running, _tag, processes

__all__ = ["processes"]


def test_it_is_a_rollback_in_plan_and_history_and_the_registry_is_told(processes: Processes) -> None:
    for number in (1, 2):
        _roll_out(processes, number)
    _old()
    controlled.settle(Controller(processes, NO_ROUTER))
    assert _running(processes) == {_name(2)}
    before = controlled.Numbered(MODEL, 1)
    controlled.roll_out(before, _tag(1), processes, NO_ROUTER, back=True, anyway="a rollback")
    plan, event = store.plan(MODEL), history.events(MODEL)[0]
    assert plan is not None
    assert (plan.live, plan.previous, plan.state) == (1, 2, "rolled_back")
    assert (event.what, event.live) == ("rollback", 1)
    assert [(one.id, one.todo) for one in history.unfinished()] == [(event.id, {"left": 2})]
