"""The lists of people: accounts, messages and the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy, pgettext_lazy

from serving.accounts import audit, contact, people
from serving.accounts.models import AuditLine, Message, Role, User
from serving.lists.listing import Action, Column, Filter, Listing, of_states
from serving.lists.quotas import QUOTA_FIELDS, quotas_in_words, used_this_month


def _roles() -> list[tuple[str, Any]]:
    return [(value or "user", text) for value, text in Role.choices]


def _role_field() -> forms.Field:
    return forms.ChoiceField(label=gettext_lazy("Role"), choices=_roles())


def _prepare_users(rows: Sequence[Any]) -> None:
    """Of the quotas those in force: what is not set for a person is as the settings say."""
    keys = {row.pk: [one.key for one in row.keys.all()] for row in rows}
    used = used_this_month([key for mine in keys.values() for key in mine])
    for row in rows:
        row.used = sum(used.get(key, 0) for key in keys[row.pk])
        row.limits = quotas_in_words(row.per_minute, row.per_month)


USERS = Listing(
    "users",
    gettext_lazy("Users"),
    Role.ADMINISTRATOR,
    lambda: User.objects.order_by("email").prefetch_related("authenticator_set", "keys"),
    (
        Column("email", gettext_lazy("E-mail address"), lambda row: row.email),
        Column("role", gettext_lazy("Role"), lambda row: row.get_role_display()),
        Column("state", gettext_lazy("State"), lambda row: "active" if row.is_active else "disabled", "badge"),
        Column(
            "second_factor",
            gettext_lazy("Second factor"),
            lambda row: gettext("yes") if len(row.authenticator_set.all()) else gettext("no"),
        ),
        Column("per_minute", gettext_lazy("Per minute"), lambda row: row.limits["per_minute"]),
        Column("per_month", gettext_lazy("Per month"), lambda row: row.limits["per_month"]),
        Column("used", gettext_lazy("This month"), lambda row: row.used, "number"),
        Column("joined", gettext_lazy("Joined"), lambda row: row.date_joined, "time"),
        Column("last_login", gettext_lazy("Last log-in"), lambda row: row.last_login, "time"),
    ),
    search=lambda rows, text: rows.filter(email__icontains=text),
    search_hint=gettext_lazy("e-mail address"),
    filters=(
        Filter(
            "role",
            gettext_lazy("Role"),
            _roles,
            lambda rows, value: rows.filter(role="" if value == "user" else value),
        ),
        Filter(
            "state",
            gettext_lazy("State"),
            lambda: [("active", gettext_lazy("active")), ("disabled", gettext_lazy("disabled"))],
            lambda rows, value: rows.filter(is_active=value == "active"),
        ),
    ),
    actions=(
        Action(
            "role",
            gettext_lazy("Give another role"),
            gettext_lazy("Each gets the role. Keys that may do more than it end, and so do the sessions."),
            lambda row, by, why, given: people.set_role(row, given["role"], by=by, why=why),
            fields={"role": _role_field},
        ),
        Action(
            "quota",
            gettext_lazy("Set quotas"),
            gettext_lazy("Each of their keys gets the quotas, also the one that the pages use and those made later."),
            lambda row, by, why, given: people.set_quota(
                row, by=by, why=why, per_minute=given["per_minute"], per_month=given["per_month"]
            ),
            fields=QUOTA_FIELDS,
        ),
        Action(
            "disable",
            gettext_lazy("Disable"),
            gettext_lazy("Nobody can log in with these accounts. Their sessions and keys end."),
            lambda row, by, why, _: people.set_active(row, False, by=by, why=why),
        ),
        Action(
            "enable",
            gettext_lazy("Enable"),
            gettext_lazy("The accounts can be used again. Keys that were revoked stay so."),
            lambda row, by, why, _: people.set_active(row, True, by=by, why=why),
        ),
        Action(
            "reset",
            gettext_lazy("Reset the second factor"),
            gettext_lazy("Their authenticator apps, security keys and recovery codes are removed, their sessions end."),
            lambda row, by, why, _: people.reset_second_factor(row, by=by, why=why),
        ),
    ),
    prepare=_prepare_users,
)


MESSAGES = Listing(
    "messages",
    gettext_lazy("Messages"),
    Role.ADMINISTRATOR,
    lambda: Message.objects.order_by("-id"),
    (
        Column("time", gettext_lazy("When"), lambda row: row.time, "time"),
        Column(
            "subject",
            gettext_lazy("Subject"),
            lambda row: row.subject,
            "words",
            link=lambda row: reverse("office_message", args=[row.pk]),
        ),
        Column("email", pgettext_lazy("sender", "From"), lambda row: row.email),
        Column("state", gettext_lazy("State"), lambda row: row.state, "badge"),
        Column("answered_by", gettext_lazy("Answered by"), lambda row: row.answered_by),
    ),
    search=lambda rows, text: rows.filter(
        Q(email__icontains=text) | Q(subject__icontains=text) | Q(text__icontains=text)
    ),
    search_hint=gettext_lazy("address, subject or text"),
    filters=(Filter("state", gettext_lazy("State"), of_states(*Message.State.values), lambda r, v: r.filter(state=v)),),
    actions=(
        Action(
            "close",
            gettext_lazy("Close without an answer"),
            gettext_lazy("The messages count as done. Nobody gets a letter."),
            lambda row, by, why, _: contact.close(row, by, why),
        ),
        Action(
            "delete",
            gettext_lazy("Delete"),
            gettext_lazy("The messages are deleted with their answers, for good. Nobody gets a letter."),
            lambda row, by, why, _: contact.delete(row, by, why),
        ),
    ),
    time="time",
)


def _prepare_audit(rows: Sequence[Any]) -> None:
    known = audit.addresses({name for row in rows for name in (row.who, row.target)})
    for row in rows:
        row.shown_who, row.shown_target = known.get(row.who, row.who), known.get(row.target, row.target)


def details(given: Mapping[str, Any]) -> str:
    """In words: `models: cars, boats; role: viewer`. What is empty is left out."""
    texts = {name: ", ".join(map(str, one)) if isinstance(one, list) else str(one) for name, one in given.items()}
    return "; ".join(f"{name}: {text}" for name, text in texts.items() if text)


AUDIT = Listing(
    "audit",
    gettext_lazy("Audit trail"),
    Role.VIEWER,
    lambda: AuditLine.objects.order_by("-id"),
    (
        Column("time", gettext_lazy("When"), lambda row: row.time, "time"),
        Column("who", gettext_lazy("Who"), lambda row: row.shown_who),
        Column("what", gettext_lazy("What"), lambda row: row.what, "code"),
        Column("target", gettext_lazy("To what"), lambda row: row.shown_target),
        Column("why", gettext_lazy("Why"), lambda row: row.why, "words"),
        Column("details", gettext_lazy("Details"), lambda row: details(row.details)),
    ),
    search=lambda rows, text: rows.filter(
        Q(who__icontains=text) | Q(what__icontains=text) | Q(target__icontains=text) | Q(why__icontains=text)
    ),
    search_hint=gettext_lazy("who, what, to what or why"),
    time="time",
    prepare=_prepare_audit,
)
