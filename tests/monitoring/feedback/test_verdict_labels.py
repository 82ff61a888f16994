"""Which labels a verdict counts: for the score those that nobody asked for by suspicion, for a retraining new ones."""

from __future__ import annotations

from monitoring.feedback import labels, performance
from monitoring.report import watch
from registry.versions.bundle import Bundle
from tests.bundles import MODEL
from tests.monitoring.scans import Send, inverted, mask, scans


def look(bundle: Bundle, *, learning: bool = False) -> watch.Verdict:
    return watch.make_verdict(MODEL, 1, bundle, learning=learning)


def test_labels_that_a_report_asked_for_do_not_test_the_score(send: Send, bundle: Bundle) -> None:
    """The images most responsible score worse by selection: that is no measurement of the version."""
    send(scans(24))
    send(scans(16, first=2000, noise=0.25))
    first = look(bundle)
    assert first.action == "label"
    for number in first.responsible[:10]:  # the others stay without a label
        performance.give_label(number, mask(full=True), "a radiologist who looked at the report")
    second = look(bundle)
    assert second.labels == 10
    assert second.scores["labels"] == {"new": 10, "learned": 0, "sampled": 0}
    assert not second.kinds["performance"]
    assert second.scores["performance"] == {}
    assert "10 that no version has learnt from" in second.page.read_text()


def test_labels_that_nobody_asked_for_test_the_score(send: Send, bundle: Bundle) -> None:
    for number in send(scans(12)):
        performance.give_label(number, mask(full=True), "a radiologist")
    verdict = look(bundle)
    assert verdict.scores["labels"]["sampled"] == 12
    assert verdict.kinds["performance"]


def test_a_verdict_asks_for_retraining_only_where_labels_are_new(send: Send, bundle: Bundle) -> None:
    from monitoring.log.models import Feedback

    ids = send(scans(28, first=2000, noise=0.25))
    for number in ids:
        performance.give_label(number, mask(), "a radiologist")
    assert look(bundle).action == "retrain"
    Feedback.objects.update(origin="drift-1")  # a retraining took them
    assert look(bundle, learning=True).action == "label"
    assert look(bundle).action == "retrain", "it failed, and nothing was trained with them"
    labels.note_learned(MODEL, ["drift-1"], 2)
    waiting = look(bundle)
    assert waiting.action == "label"
    assert "28 new labels are needed to retrain, 0 are there (28 more are learnt from already)" in waiting.why
    assert "0 are there" in waiting.page.read_text()
    for number in send(scans(28, first=3000, noise=0.25)):
        performance.give_label(number, mask(), "a radiologist")
    assert look(bundle).action == "retrain"


def test_labels_of_broken_inputs_are_no_reason_to_retrain(send: Send, bundle: Bundle) -> None:
    """Fewer than half are broken, so the verdict is not on them; but nobody should learn from them."""
    drifted = send(scans(22, first=2000, noise=0.25))
    broken = send([inverted(body) for body in scans(16)])
    for number in (*drifted[:4], *broken):
        performance.give_label(number, mask(), "a radiologist")
    verdict = look(bundle)
    assert verdict.action == "label"
    assert verdict.scores["labels"]["new"] == 4
