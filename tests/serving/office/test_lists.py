"""Lists of the back office: search, filters, pages, CSV and bulk actions in a real browser."""

from __future__ import annotations

import csv
import io
import json
import secrets
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from registry.core import database
from tests.browsers import Visitor

AsRole = Callable[[str], Visitor]


@pytest.fixture
def predictions(web: str) -> Iterator[list[Any]]:
    """120 predictions of two models, each tenth an error."""
    database.renew_connection()
    from monitoring.log.models import Prediction

    start = datetime.now(UTC) - timedelta(hours=3)
    made = [
        Prediction(
            id=uuid.uuid4().hex,
            time=start + timedelta(minutes=n),
            model="fruit_features" if n % 2 else "weapon_detection",
            version=1 + n % 3,
            role="live",
            caller="=cmd()" if n == 119 else "127.0.0.1",
            latency_ms=10 + n,
            outcome="BadInput" if n % 10 == 0 else "ok",
            status=200,
        )
        for n in range(120)
    ]
    Prediction.objects.bulk_create(made)
    yield made
    Prediction.objects.filter(id__in=[one.id for one in made]).delete()


def test_predictions_are_filtered_paged_and_found(predictions: list[Any], as_role: AsRole) -> None:
    visitor = as_role("viewer")
    page = visitor.page
    visitor.open("/office/lists/predictions/")
    assert page.locator("tbody tr").count() == 50
    page.get_by_role("link", name="Next").click()
    page.get_by_role("link", name="Next").click()
    page.get_by_text("Page 3").wait_for()
    assert page.locator("tbody tr").count() >= 20
    page.get_by_label("Model").select_option("weapon_detection")
    page.get_by_label("Outcome").select_option("error")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("Page 1").wait_for()
    assert page.locator("tbody tr").count() == 12
    page.get_by_label("Latency").select_option("100")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**latency=100**")
    assert page.locator("tbody tr").count() == 2
    page.get_by_label("Latency").select_option("")
    page.get_by_label("Search").fill(predictions[10].id[:12])
    page.get_by_role("button", name="Show").click()
    page.get_by_title(predictions[10].id).wait_for()
    assert page.locator("tbody tr").count() == 1
    page.get_by_label("From").fill("2999-01-01")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("Nothing is found").wait_for()


def test_a_csv_has_all_rows_and_no_formulas(predictions: list[Any], as_role: AsRole) -> None:
    visitor = as_role("viewer")
    visitor.open("/office/lists/predictions/?model=fruit_features")
    with visitor.page.expect_download() as saved:
        visitor.page.get_by_role("link", name="As CSV").click()
    with open(saved.value.path(), encoding="utf-8") as file:
        rows = list(csv.DictReader(io.StringIO(file.read())))
    assert len(rows) >= 60
    assert {row["model"] for row in rows} == {"fruit_features"}
    assert "'=cmd()" in {row["person"] for row in rows}


def test_an_administrator_changes_and_disables_users(as_role: AsRole, account: Callable[..., Any]) -> None:
    tag = secrets.token_hex(4)
    visitor, users = as_role("administrator"), [account(tag=tag), account(tag=tag)]
    page = visitor.page
    visitor.open(f"/office/lists/users/?q={tag}")
    for user in users:
        page.get_by_label(user.email).check()
    page.get_by_label("With the chosen rows").select_option("role")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Role").select_option("viewer")
    page.get_by_label("Reason").fill("new colleagues")
    page.get_by_role("button", name="Give another role").click()
    page.get_by_text("Done for 2 rows.").wait_for()
    page.get_by_label(users[0].email).check()
    page.get_by_label("With the chosen rows").select_option("disable")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Reason").fill("left")
    page.get_by_role("button", name="Disable").click()
    page.get_by_text("Done for 1 row.").wait_for()
    database.renew_connection()
    for user in users:
        user.refresh_from_db()
    assert [(user.role, user.is_active) for user in users] == [("viewer", False), ("viewer", True)]
    visitor.open("/office/lists/audit/?q=left")
    page.get_by_role("cell", name="user.disable").wait_for()


def test_the_last_administrator_stays(as_role: AsRole) -> None:
    database.renew_connection()
    from serving.accounts.models import Role, User

    visitor = as_role("administrator")
    me = User.objects.filter(role=Role.ADMINISTRATOR).latest("pk")
    User.objects.filter(role=Role.ADMINISTRATOR).exclude(pk=me.pk).update(is_active=False)
    visitor.open(f"/office/lists/users/act/?chosen={me.pk}&action=disable")
    visitor.page.get_by_label("Reason").fill("by mistake")
    visitor.page.get_by_role("button", name="Disable").click()
    visitor.page.get_by_text("is the last administrator").wait_for()


def test_quotas_are_set_and_keys_revoked(as_role: AsRole) -> None:
    database.renew_connection()
    from serving.access import keys

    key, _ = keys.create("robot", "Ben")
    visitor = as_role("administrator")
    page = visitor.page
    for action, button in (("quota", "Set quotas"), ("revoke", "Revoke")):
        visitor.open("/office/lists/keys/?q=robot")
        page.get_by_label(key.caller).check()
        page.get_by_label("With the chosen rows").select_option(action)
        page.get_by_role("button", name="Go on").click()
        if action == "quota":
            page.get_by_label("Requests per minute").fill("7")
        page.get_by_label("Reason").fill("too many requests")
        page.get_by_role("button", name=button).click()
        page.get_by_text("Done for 1 row.").wait_for()
    changed = keys.get(key.id)
    assert changed.per_minute == 7
    assert changed.revoked is not None


def test_a_message_is_answered(as_role: AsRole) -> None:
    database.renew_connection()
    from serving.accounts.models import Letter, Message

    message = Message.objects.create(email="anna@example.org", subject="Too dark", text="Why?", language="en")
    visitor = as_role("administrator")
    page = visitor.page
    visitor.open("/office/lists/messages/?state=new")
    page.get_by_role("link", name="Too dark").first.click()
    page.get_by_label("Your answer").fill("The lamp was off.")
    page.get_by_role("button", name="Send the answer").click()
    page.get_by_text("The answer is on its way").wait_for()
    message.refresh_from_db()
    assert message.state == Message.State.ANSWERED
    assert Letter.objects.filter(recipients="anna@example.org").exists()


def test_messages_are_deleted_one_by_one_and_together(as_role: AsRole) -> None:
    database.renew_connection()
    from serving.accounts.models import AuditLine, Message

    tag = secrets.token_hex(4)
    made = [Message.objects.create(email="x@example.org", subject=f"{tag} {n}", text="Buy!") for n in range(3)]
    visitor = as_role("administrator")
    page = visitor.page
    visitor.open(f"/office/lists/messages/{made[0].pk}/")
    page.get_by_role("link", name="Delete this message").click()
    for chosen in (made[:1], made[1:]):
        if len(chosen) > 1:
            visitor.open(f"/office/lists/messages/?q={tag}")
            for one in chosen:
                page.get_by_label(str(one)).check()
            page.get_by_label("With the chosen rows").select_option("delete")
            page.get_by_role("button", name="Go on").click()
        page.get_by_text("for good").wait_for()
        page.get_by_label("Reason").fill("spam")
        page.get_by_role("button", name="Delete").click()
        page.get_by_text("Done for").wait_for()
    assert not Message.objects.filter(subject__startswith=tag).exists()
    targets = [f"message {one.pk}" for one in made]
    lines = AuditLine.objects.filter(target__in=targets).values_list("what", "why")
    assert list(lines) == [("message.delete", "spam")] * 3


def test_a_persons_quotas_are_seen_and_set_for_old_and_new_keys(as_role: AsRole, account: Callable[..., Any]) -> None:
    from serving.accounts import keys as account_keys
    from serving.uploads import quotas

    visitor, user = as_role("administrator"), account()
    account_keys.token_of_pages(user)
    page = visitor.page
    visitor.open(f"/office/lists/users/?q={user.email}")
    page.get_by_role("cell", name="600 (setting)").wait_for()
    page.get_by_label(user.email).check()
    page.get_by_label("With the chosen rows").select_option("quota")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Requests per month").fill("1500")
    page.get_by_label("Reason").fill("a big customer")
    page.get_by_role("button", name="Set quotas").click()
    page.get_by_text("Done for 1 row.").wait_for()
    visitor.open(f"/office/lists/users/?q={user.email}")
    page.get_by_role("cell", name="1,500", exact=True).wait_for()
    database.renew_connection()
    user.refresh_from_db()
    new, _ = account_keys.create(user, "new")
    assert (new.per_month, new.per_minute, quotas.usage(user).limit) == (1500, None, 1500)


def test_versions_are_listed_and_saved_with_their_decisions(project: Path, as_role: AsRole) -> None:
    """MLflow is away: what the decisions say is shown all the same."""
    page = project / "var" / "decisions" / "fruit_features" / "v7.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("refused")
    facts = {"challenger": 7, "granted": False, "summary": "version 7 refused"}
    page.with_suffix(".json").write_text(json.dumps(facts))
    visitor = as_role("viewer")
    visitor.open("/office/lists/versions/?decision=refused&q=fruit")
    row = visitor.page.get_by_role("row", name="version 7 refused")
    row.get_by_text("MLflow does not answer").wait_for()
    assert row.get_by_role("link", name="refused", exact=True).get_attribute("href").endswith("/fruit_features/v7.html")
    with visitor.page.expect_download() as saved:
        visitor.page.get_by_role("link", name="As CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8"))))
    assert [(row["version"], row["decision"]) for row in rows] == [("7", "refused")]
    for made in (page, page.with_suffix(".json")):
        made.unlink()


def test_details_of_the_audit_trail_are_words() -> None:
    from serving.lists.people import details

    assert details({"models": ["cars", "boats"], "role": "", "share": 10}) == "models: cars, boats; share: 10"


def test_a_prediction_is_found_by_its_id_without_reading_all_of_them(predictions: list[Any]) -> None:
    from serving.lists.every import ALL

    found = ALL["predictions"].chosen({"q": predictions[7].id.upper()})
    assert [row.id for row in found] == [predictions[7].id]
    plan = found.explain()
    assert "SEARCH" in plan
    assert "SCAN" not in plan
