"""What runs is made equal to what is wanted, whatever happens in between. Its services are processes that only answer
`/readyz`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.core.errors import MissingService, NotFound, Refused
from serving.guard import controller
from serving.guard.controller import Controller
from serving.releases import deploy, endpoints, orders, plans, store
from tests.bundles import MODEL
from tests.databases import own_database
from tests.serving import controlled
from tests.serving.conftest import Processes, Running
from tests.serving.removal import retire

READY = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
NO_ROUTER = ""


@dataclass(frozen=True)
class Numbered:
    model: str
    number: int


def _tag(number: int) -> str:
    return f"{MODEL}:{number}-abc"


def _name(number: int) -> str:
    return f"{MODEL}-{number}-abc"


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """A starter whose services are small: what a Bento does is not what these tests are about."""
    monkeypatch.setattr(deploy, "service_command", lambda tag, port: [sys.executable, "-c", READY, str(port)])
    started = Processes(tmp_path / "logs")
    with own_database(tmp_path / "own.db"):
        yield started
        started.stop_all()


def _roll_out(processes: Processes, number: int) -> None:
    controlled.roll_out(Numbered(MODEL, number), _tag(number), processes, NO_ROUTER)


def _running(processes: Processes) -> set[str]:
    return set(processes.services())


def _plan() -> plans.Plan:
    found = store.plan(MODEL)
    assert found is not None
    return found


def _old(**columns: Any) -> None:
    """The plan's step began long ago: a version kept warm is over its time."""
    from serving.releases.models import Release

    Release.objects.filter(model=MODEL).update(since=datetime.now(UTC) - timedelta(days=1), **columns)


def test_a_release_starts_a_service_and_the_one_before_is_stopped_when_its_time_is_over(processes: Processes) -> None:
    for number in (1, 2):
        _roll_out(processes, number)
    assert (_plan().live, _plan().previous) == (2, 1)
    assert _running(processes) == {_name(1), _name(2)}
    _old()
    controlled.settle(Controller(processes, NO_ROUTER))
    assert _running(processes) == {_name(2)}
    assert endpoints.announced(MODEL).keys() == {(MODEL, 2)}


def _between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """`act` happens once, after a look at what there is and before something is retired."""
    retire, acted = orders.retire_unwanted, []

    def acting(*arguments: Any) -> list[int]:
        if not acted:
            acted.append(act())
        return retire(*arguments)

    monkeypatch.setattr(orders, "retire_unwanted", acting)


def test_a_version_that_is_released_while_the_old_one_is_cooled_stays_up(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """serving.md 5.1: it was announced between two reads, and stopped as one that no plan names."""
    for number in (1, 2):
        _roll_out(processes, number)
    _old()
    _between(monkeypatch, lambda: orders.place(Numbered(MODEL, 3), _tag(3), revision=_plan().revision))
    looked = Controller(processes, NO_ROUTER)
    controlled.settle(looked)
    assert _plan().live == 3
    assert store.live(MODEL) is not None
    assert _name(3) in _running(processes)
    _old()
    controlled.settle(looked)
    assert _running(processes) == {_name(3)}


def test_a_rollback_while_others_are_cooled_keeps_the_version_that_it_returns_to(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        _roll_out(processes, number)
    _old()
    _between(monkeypatch, lambda: deploy.roll_back(MODEL))
    controlled.settle(Controller(processes, NO_ROUTER))
    assert _plan().live == 1
    live = store.live(MODEL)
    assert live is not None
    assert deploy.is_ready(live)


def test_a_rollback_during_a_drain_brings_the_version_back(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """serving.md 5.1, second form: two are left over, and one that still drains is wanted again."""
    for number in (1, 2):
        _roll_out(processes, number)
    _old()
    hanging = True
    monkeypatch.setattr(deploy, "drained", lambda *_: not hanging)
    looked = Controller(processes, "http://127.0.0.1:9")
    looked.look()
    assert endpoints.announced(MODEL).keys() == {(MODEL, 2)}, "version 1 drains"
    with pytest.raises(NotFound, match="not kept warm"):
        deploy.roll_back(MODEL)
    before = processes.running[_name(1)].pid
    orders.place(Numbered(MODEL, 1), _tag(1), revision=_plan().revision)
    looked.look()
    assert _plan().live == 1
    hanging = False
    controlled.settle(looked)
    assert processes.running[_name(1)].pid == before, "it was not even stopped"
    assert deploy.is_ready(endpoints.announced(MODEL)[MODEL, 1])


def test_what_a_plan_wants_is_started_again_where_it_answered(processes: Processes) -> None:
    """After `down` and `up`, or where the supervisor gave it up; also a live version whose service was retired."""
    _roll_out(processes, 1)
    url = endpoints.announced(MODEL)[MODEL, 1].url
    for lost in (lambda: None, lambda: retire(MODEL, 1)):
        processes.stop_all()
        lost()
        controlled.settle(Controller(processes, NO_ROUTER))
        assert endpoints.announced(MODEL)[MODEL, 1].url == url
        assert deploy.is_ready(endpoints.announced(MODEL)[MODEL, 1])


def test_what_was_kept_warm_is_not_started_again(processes: Processes) -> None:
    for number in (1, 2):
        _roll_out(processes, number)
    processes.stop_all()
    controlled.settle(Controller(processes, NO_ROUTER))
    assert _running(processes) == {_name(2)}
    assert endpoints.announced(MODEL).keys() == {(MODEL, 2)}


def test_a_version_packaged_anew_takes_the_place_of_the_same_number(processes: Processes) -> None:
    _roll_out(processes, 1)
    again = f"{MODEL}:1-def"
    controlled.roll_out(Numbered(MODEL, 1), again, processes, NO_ROUTER)
    assert _running(processes) == {f"{MODEL}-1-def"}
    assert endpoints.announced(MODEL)[MODEL, 1].tag == again


@pytest.mark.parametrize(
    "act",
    [
        lambda: deploy.roll_back(MODEL, who="the guard", why="errors"),
        lambda: store.change(MODEL, "step", "the guard", share=50),
    ],
)
def test_a_promotion_of_what_was_rolled_back_meanwhile_is_refused(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> None:
    """serving.md 5.2: the plan was read, the service asked, and then changed whatever had come of it."""
    _roll_out(processes, 1)
    canary = plans.Plan(MODEL, "canary", 1, 2, share=10)
    controlled.begin(canary, Numbered(MODEL, 2), _tag(2), processes, NO_ROUTER)

    def ready(plan: plans.Plan) -> bool:
        act()
        return True

    monkeypatch.setattr(deploy, "second_is_ready", ready)
    with pytest.raises(Refused, match=r"was changed meanwhile: \w+ by the guard"):
        deploy.promote(MODEL)
    assert _plan().live == 1


def test_a_release_that_somebody_else_overtakes_is_refused_and_what_it_started_is_stopped(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        _roll_out(processes, number)
    start = Processes.start

    def overtaken(self: Processes, name: str, *arguments: Any, **more: Any) -> Running:
        found = start(self, name, *arguments, **more)
        rolled_back.wait(20)
        return found

    rolled_back = threading.Event()
    monkeypatch.setattr(Processes, "start", overtaken)
    placed = orders.place(Numbered(MODEL, 3), _tag(3), revision=_plan().revision)
    looked = Controller(processes, NO_ROUTER)
    looked.look()
    deploy.roll_back(MODEL, who="somebody")
    rolled_back.set()
    controlled.settle(looked)
    with pytest.raises(Refused, match="changed meanwhile: rollback by somebody"):
        orders.wait(placed)
    assert _plan().live == 1
    assert _running(processes) == {_name(1), _name(2)}


def test_one_release_of_a_model_at_a_time(processes: Processes) -> None:
    orders.place(Numbered(MODEL, 1), _tag(1), revision=0, who="somebody")
    with pytest.raises(Refused, match="is under way: release of version 1 by somebody"):
        deploy.roll_out(Numbered(MODEL, 2), _tag(2), anyway="a test")


def test_without_a_guard_a_release_says_so_and_is_withdrawn(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "TAKEN_UP_S", 0.3)
    with pytest.raises(MissingService, match="no guard has begun the release of version 1") as caught:
        deploy.roll_out(Numbered(MODEL, 1), _tag(1), anyway="a test")
    assert "visionloop status" in caught.value.fix
    controlled.settle(Controller(processes, NO_ROUTER))
    assert store.plan(MODEL) is None, "a guard that comes later leaves it alone"
    assert not _running(processes)


def test_a_service_that_does_not_start_fails_its_release_and_changes_nothing(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    _roll_out(processes, 1)
    before = _plan()
    monkeypatch.setattr(
        deploy, "service_command", lambda tag, port: [sys.executable, "-c", "raise SystemExit('no licence')"]
    )
    with pytest.raises(MissingService, match="no licence"):
        _roll_out(processes, 2)
    assert _plan() == before
    assert _running(processes) == {_name(1)}


def test_a_live_version_that_cannot_be_started_is_tried_again_and_says_why(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    _roll_out(processes, 1)
    processes.stop_all()
    monkeypatch.setattr(controller, "RETRY_PAUSES_S", (0.2,))
    with monkeypatch.context() as broken:
        broken.setattr(
            deploy, "service_command", lambda tag, port: [sys.executable, "-c", "raise SystemExit('no disk')"]
        )
        looked = Controller(processes, NO_ROUTER)
        controlled.settle(looked)
    assert "no disk" in endpoints.announced(MODEL)[MODEL, 1].problem
    time.sleep(0.2)
    controlled.settle(looked)
    assert endpoints.announced(MODEL)[MODEL, 1].problem == ""
    assert deploy.is_ready(endpoints.announced(MODEL)[MODEL, 1])


def test_a_supervisor_that_is_away_is_said_once_and_changes_nothing(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _roll_out(processes, 1)

    class Away:
        def services(self) -> Mapping[str, Running]:
            raise MissingService("the stack is not up")

        def start(self, name: str, argv: Sequence[str], *_: Any, **__: Any) -> Running:
            raise AssertionError

        stop = start

    looked = Controller(Away(), NO_ROUTER)  # type: ignore[arg-type]
    for _ in range(3):
        looked.look()
    assert caplog.text.count("no service can be started or stopped") == 1
    assert endpoints.announced(MODEL).keys() == {(MODEL, 1)}
