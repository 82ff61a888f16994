"""Earlier predictions with their answers: listed, filtered, page by page."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from serving.access import keys
from serving.client.clients import Client
from tests.bundles import MODEL, make_scan
from tests.serving.access.conftest import bearer, known
from tests.waiting import until

RAW = {"Content-Type": "application/gzip"}
PREDICT = f"/v1/models/{MODEL}/predict"
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def token(guarded: str) -> str:
    return known(guarded, keys.create("looks back")[1])


@pytest.fixture
def rows(token: str) -> Iterator[list[str]]:
    """The ids of ten predictions of the token, a minute apart, the newest first; two of them at the same time."""
    made = [_row(token.rsplit("_", 1)[0], NOON - timedelta(minutes=min(n, 8))) for n in range(10)]
    made[8:] = sorted(made[8:], reverse=True)
    yield made
    _rows().filter(id__in=made).delete()


def _rows() -> Any:
    from monitoring.log.models import Prediction

    return Prediction.objects


def _row(caller: str, when: datetime, **more: Any) -> str:
    fields: dict[str, Any] = {"model": MODEL, "version": 1, "role": "live", "outcome": "ok", "status": 200, **more}
    return str(_rows().create(id=uuid.uuid4().hex, time=when, caller=caller, latency_ms=1.0, **fields).id)


def _ids(router: str, token: str, **query: Any) -> list[str]:
    answer = httpx.get(f"{router}/v1/predictions", params=query, headers=bearer(token))
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["predictions"]]


def test_the_answer_is_kept_as_it_was(live: str, token: str) -> None:
    """Also where a picture was the answer."""
    given = httpx.post(f"{live}{PREDICT}", content=make_scan(1), headers={**RAW, **bearer(token)})
    drawn = httpx.post(f"{live}{PREDICT}?format=jpg", content=make_scan(1), headers={**RAW, **bearer(token)})
    with Client(live, token) as client:
        kept = client.prediction(given.json()["id"])
        assert kept.answer
        assert kept.answer.items() <= given.json().items()
        assert not kept.answer.keys() & {"id", "model", "timings_ms"}
        assert client.prediction(drawn.headers["x-prediction-id"]).answer == kept.answer
        newest = client.predictions(model=MODEL, version=1, outcome="ok", limit=2).predictions
        assert [one.id for one in newest] == [drawn.headers["x-prediction-id"], kept.id]
        assert newest[1].answer == kept.answer


def test_a_refused_request_is_kept_with_its_error(live: str, token: str) -> None:
    refused = httpx.post(f"{live}{PREDICT}", content=b"no scan", headers={**RAW, **bearer(token)})
    number = refused.headers["x-prediction-id"]
    kept = httpx.get(f"{live}/v1/predictions/{number}", headers=bearer(token)).json()
    assert (kept["outcome"], kept["answer"]) == ("UnsupportedMedia", refused.json())
    assert number in _ids(live, token, outcome="failed")
    assert number in _ids(live, token, outcome="UnsupportedMedia")
    assert number not in _ids(live, token, outcome="ok")


def test_pages_are_complete_and_new_rows_move_nothing(live: str, token: str, rows: list[str]) -> None:
    query = {"since": "2026-03-04", "until": "2026-03-04", "limit": 3}
    seen, cursor = [], ""
    while True:
        found = httpx.get(
            f"{live}/v1/predictions", params={**query, **({"cursor": cursor} if cursor else {})}, headers=bearer(token)
        ).json()
        seen += [one["id"] for one in found["predictions"]]
        cursor = found["next_cursor"]
        if not cursor:
            break
        rows.append(_row(token.rsplit("_", 1)[0], NOON + timedelta(minutes=len(seen))))
    assert seen == rows[:10]


def test_a_day_until_is_included_and_a_time_is_not(live: str, token: str, rows: list[str]) -> None:
    assert _ids(live, token, since="2026-03-05", until="2026-03-05") == []
    assert _ids(live, token, since="2026-03-04T11:59:00Z", until="2026-03-04T13:00:00+01:00") == [rows[1]]


def test_lists_hold_the_callers_own_answers_only(live: str, token: str, rows: list[str], other: str) -> None:
    caller = token.rsplit("_", 1)[0]
    rows.append(_row(caller, NOON, role="shadow"))
    day = {"since": "2026-03-04", "until": "2026-03-04"}
    assert rows[-1] not in _ids(live, token, **day), "a shadow answered nobody"
    assert _ids(live, other, **day) == []
    assert _ids(live, other, caller=caller, **day) == []
    admin = known(live, keys.create("admin of all", actions=["admin"])[1])
    assert set(rows) <= set(_ids(live, admin, caller=caller, **day))
    fruit = known(live, keys.create("admin of fruit", actions=["admin"], models=["fruit_features"])[1])
    assert _ids(live, fruit, **day) == []
    assert httpx.get(f"{live}/v1/predictions").status_code == 401
    blind = known(live, keys.create("predicts only", actions=["predict"])[1])
    assert httpx.get(f"{live}/v1/predictions", headers=bearer(blind)).status_code == 403


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("version=one", "version"),
        ("cursor=x", "cursor"),
        ("cursor=bm9uZQ", "cursor"),
        ("since=yesterday", "since"),
        ("since=2026-03-04T12:00:00", "since"),
        ("until=2026-02-30", "until"),
        ("outcome=not%20ok", "outcome"),
    ],
)
def test_what_is_no_filter_is_named(live: str, token: str, query: str, named: str) -> None:
    answer = httpx.get(f"{live}/v1/predictions?{query}", headers=bearer(token))
    assert answer.status_code == 422
    assert answer.json()["found"].startswith(f"{named} is")


def test_a_misspelt_filter_is_guessed(live: str, token: str) -> None:
    answer = httpx.get(f"{live}/v1/predictions?modle={MODEL}", headers=bearer(token))
    assert (answer.status_code, answer.json()["fix"]) == (422, "did you mean 'model'?")
    assert httpx.get(f"{live}/v1/predictions?model=skin", headers=bearer(token)).status_code == 404


def test_the_list_follows_the_answers_within_a_moment(live: str, token: str) -> None:
    number = httpx.post(f"{live}{PREDICT}", content=make_scan(2), headers={**RAW, **bearer(token)}).json()["id"]
    until(lambda: number in _ids(live, token, limit=5), 3)
