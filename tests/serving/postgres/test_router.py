"""A router on PostgreSQL: plans, keys, usage, predictions."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import httpx
import pytest

from monitoring.log.writer import PredictionLog
from registry.core.errors import Refused
from registry.core.settings import settings
from serving.access import keys, report
from serving.releases import deploy, endpoints, history, store
from tests.bundles import MODEL
from tests.clusters import Cluster
from tests.monitoring.conftest import make_record
from tests.serving.access.conftest import bearer, known, start_router
from tests.serving.conftest import Processes
from tests.serving.postgres.conftest import Stop, stopped, together
from tests.serving.removal import withdraw
from tests.waiting import until

FOLLOWS_S = 2.0


def test_plans_are_followed_within_two_seconds_also_after_an_outage(guarded: str, postgres: Cluster) -> None:
    def version() -> int:
        routes = httpx.get(f"{guarded}/-/routes").json()["routes"]
        return int(routes.get(MODEL, {}).get("version", 0))

    for number in (1, 2, 3):
        endpoints.announce(MODEL, number, f"http://127.0.0.1:{deploy.free_port()}", f"{MODEL}:{number}")
    for number in (1, 2):
        store.switch(MODEL, number)
        until(lambda wanted=number: version() == wanted, FOLLOWS_S)
    with stopped(postgres, "immediate"):
        time.sleep(1.5)
        assert version() == 2  # the last one known
    store.switch(MODEL, 3)
    until(lambda: version() == 3, FOLLOWS_S)
    plan = store.plan(MODEL)
    assert plan is not None
    assert (plan.live, plan.previous) == (3, 2)
    assert [event.live for event in history.events(MODEL)][:3] == [3, 2, 1]
    withdraw(MODEL)


def test_two_who_change_a_plan_at_once_do_not_both_get_it() -> None:
    for number in (1, 2):
        endpoints.announce(MODEL, number, "http://127.0.0.1:9", f"{MODEL}:{number}")
    plan = store.switch(MODEL, 1)
    said: list[object] = []

    def change() -> None:
        from django.db import connection

        try:
            said.append(store.change(MODEL, "canary", "me", revision=plan.revision, kind="canary", second=2, share=10))
        except Refused as error:
            said.append(error)
        connection.close()

    together(change, 4)
    assert sum(isinstance(one, Refused) for one in said) == 3
    withdraw(MODEL)


def test_first_plans_made_at_once_wait_for_each_other() -> None:
    endpoints.announce(MODEL, 1, "http://127.0.0.1:9", f"{MODEL}:1")
    revisions: list[int] = []

    def begin() -> None:
        from django.db import connection

        revisions.append(store.switch(MODEL, 1).revision)
        connection.close()

    for _ in range(5):
        withdraw(MODEL)
        revisions.clear()
        together(begin, 4)
        assert len(set(revisions)) == 4
    withdraw(MODEL)


def test_keys_made_at_once_get_serials_of_their_own() -> None:
    made: list[int] = []

    def make() -> None:
        from django.db import connection

        made.append(keys.create("at once")[0].serial)
        connection.close()

    together(make, 8)
    assert len(set(made)) == 8


@pytest.mark.parametrize("outage", [None, "fast", "immediate"])
def test_a_revoked_key_is_refused_within_two_seconds(guarded: str, postgres: Cluster, outage: Stop | None) -> None:
    grant, token = keys.create("to be revoked")
    known(guarded, token)
    if outage:
        with stopped(postgres, outage):
            time.sleep(1.5)  # the router looks for changed keys, and finds no database
            assert httpx.get(f"{guarded}/v1/nothing", headers=bearer(token)).status_code == 404
    keys.revoke(grant.id)
    until(lambda: httpx.get(f"{guarded}/v1/nothing", headers=bearer(token)).status_code == 401, FOLLOWS_S)


def test_a_router_that_is_started_in_an_outage_waits_for_releases_and_keys(
    postgres: Cluster, processes: Processes
) -> None:
    _, token = keys.create("early")
    endpoints.announce(MODEL, 1, f"http://127.0.0.1:{deploy.free_port()}", f"{MODEL}:1")
    store.switch(MODEL, 1)
    try:
        with stopped(postgres, "immediate"):
            early = start_router(processes, "early", require_keys="true")
            assert httpx.get(f"{early}/healthz").status_code == 200
            assert httpx.get(f"{early}/-/routes").json()["routes"] == {}
            refused = httpx.get(f"{early}/v1/nothing", headers=bearer(token))
            assert (refused.status_code, refused.headers.get("retry-after")) == (503, "1")
        until(lambda: MODEL in httpx.get(f"{early}/-/routes").json()["routes"])
        until(lambda: httpx.get(f"{early}/v1/nothing", headers=bearer(token)).status_code == 404)
    finally:
        processes.stop("early")
        withdraw(MODEL)


@pytest.mark.slow
def test_usage_is_exact_over_an_outage_and_a_month_is_over_for_every_router(
    guarded: str, postgres: Cluster, processes: Processes
) -> None:
    grant, token = keys.create("counted", per_month=60)
    known(guarded, token)

    def asked() -> int:
        return sum(row.requests for row in report.rows(today, today, grant.id))

    today = datetime.now(UTC).date()
    sent = until(asked)
    with stopped(postgres, "immediate"), httpx.Client(headers=bearer(token)) as client:
        for _ in range(40 - sent):
            assert client.get(f"{guarded}/v1/nothing").status_code == 404
        time.sleep(1.5)  # a flush fails
    until(lambda: asked() >= 40)
    time.sleep(2)  # what is flushed twice comes late
    assert asked() == 40
    second = start_router(processes, "second", require_keys="true", quota_per_minute="0")
    known(second, token)
    with httpx.Client(headers=bearer(token)) as client:
        until(lambda: client.get(f"{second}/v1/nothing").status_code == 429)
        time.sleep(8)  # a router knows of the others' requests within about six seconds
        assert client.get(f"{guarded}/v1/nothing").status_code == 429
    processes.stop("second")
    until(lambda: asked() >= 60)
    time.sleep(2)
    assert asked() == 60


def test_a_prediction_and_its_label_through_the_router(guarded: str, postgres: Cluster) -> None:
    grant, token = keys.create("labels")
    known(guarded, token)
    record = make_record(model="fruit_features", caller=grant.caller)
    log = PredictionLog("service")
    log.start()
    log.record(record, b"a picture")
    address = f"{guarded}/v1/predictions/{record.id}"
    with httpx.Client(headers=bearer(token), timeout=30) as client:
        assert client.get(address).json()["prediction_statistics"]["p0"] == 0
        said = [client.post(f"{address}/feedback", json={"label": "apple"}).json() for _ in range(2)]
        assert [one["replaced"] for one in said] == [False, True]
        with stopped(postgres, "immediate"):
            for asked in (address, f"{guarded}/v1/usage"):
                away = client.get(asked)
                assert (away.status_code, away.headers.get("retry-after")) == (503, "1"), asked
        assert [client.get(address).json()["feedback"]["label"] for _ in range(30)] == ["apple"] * 30
    log.close()
    name = settings().database_url.rpartition("/")[2]
    (held,) = postgres.ask(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")[0]
    assert 0 < held < 15, "every request has left a connection behind"
