"""The version with the traffic has the role `live`: also in the counts of before, which the guard goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from registry.core import database
from registry.versions.decision import Decision
from serving.guard.pages import ReleaseDecision
from serving.releases import endpoints, store
from serving.router.traffic import RoleCounts, read
from tests.bundles import MODEL
from tests.databases import own_database
from tests.serving.counted import wrote


def test_counts_of_before_belong_to_the_live_version(tmp_path: Path) -> None:
    with own_database(tmp_path / "own.db"):
        endpoints.announce(MODEL, 1, "http://127.0.0.1:9", f"{MODEL}:1-x")
        plan = store.switch(MODEL, 1, "a test")
        MigrationRecorder(connection).record_unapplied("serving", "0009_live_role")
        wrote(plan, 1, "champion", RoleCounts(7))
        database.migrate()
        assert {key: counts.calls for key, counts in read(MODEL, since=plan.since).items()} == {(1, "live"): 7}


def test_a_page_about_traffic_compares_with_the_live_version_and_the_gates_with_the_champion() -> None:
    fields: dict[str, Any] = {
        "model": MODEL, "challenger": 2, "champion": 1, "granted": False, "asked_by": "a test", "why": "to see",
        "metric": "Dice", "data_hash": "d", "reasons": (),
    }  # fmt: skip
    assert "against live version 1" in ReleaseDecision(**fields).to_html()
    assert "Compared with champion 1." in Decision(**fields).to_html()
