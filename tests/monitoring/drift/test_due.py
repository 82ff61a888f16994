"""One verdict for each new window: where nothing new came none is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from monitoring.drift import due
from monitoring.feedback import performance
from monitoring.report import watch
from registry.versions.bundle import Bundle
from tests.bundles import MODEL
from tests.monitoring.scans import Send, mask, scans


def look(bundle: Bundle) -> watch.Verdict:
    return watch.make_verdict(MODEL, 1, bundle)


def test_a_verdict_is_due_at_first_and_then_when_half_of_the_window_is_new(send: Send, bundle: Bundle) -> None:
    assert due.pending_reason(MODEL, 1) == ""
    send(scans(10))
    verdict = look(bundle)
    said = due.pending_reason(MODEL, 1)
    assert verdict.id in said
    assert "no new predictions" in said
    send(scans(4))
    assert "4 new predictions" in due.pending_reason(MODEL, 1)
    send(scans(8))
    assert due.pending_reason(MODEL, 1) == ""


def test_a_new_label_makes_it_due(send: Send, bundle: Bundle) -> None:
    (first, *_) = send(scans(10))
    look(bundle)
    assert due.pending_reason(MODEL, 1)
    performance.give_label(first, mask(), "me")
    assert due.pending_reason(MODEL, 1) == ""


def test_where_little_comes_there_is_one_a_day(send: Send, bundle: Bundle) -> None:
    send(scans(40))
    look(bundle)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert due.pending_reason(MODEL, 1, tomorrow)
    send(scans(8))
    assert due.pending_reason(MODEL, 1)
    assert due.pending_reason(MODEL, 1, tomorrow) == ""


def test_another_version_is_judged_anew(send: Send, bundle: Bundle) -> None:
    send(scans(10))
    look(bundle)
    assert due.pending_reason(MODEL, 2) == ""
