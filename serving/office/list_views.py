"""One view for every list: filters, pages, CSV; and the pages of bulk actions, of a message and of a thumbnail."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy, ngettext

from registry.core.errors import VisionloopError
from serving.accounts import contact
from serving.accounts.models import Message, Role
from serving.lists import every
from serving.lists.listing import Action, Column, Listing
from serving.office import asking
from serving.office.roles import least, person
from serving.runs import files

MOST_CHOSEN = 500
NEVER_IN_LINKS = ("page", "format")


@least(Role.VIEWER)
def show(request: HttpRequest, name: str) -> HttpResponseBase:
    """A page of a list, or all of it as CSV."""
    listing = _listing(request, name)
    asked = request.GET.dict()
    if asked.get("format") == "csv":
        return _csv(listing, asked)
    rows, page, more = listing.page(asked)
    kept = request.GET.copy()
    for one in NEVER_IN_LINKS:
        kept.pop(one, None)
    context = {
        "listing": listing,
        "rows": [(row, listing.label(row), _cells(listing, row)) for row in rows],
        "filters": [(one, list(one.choices()), asked.get(one.name, "")) for one in listing.filters],
        "asked": asked,
        "page": page,
        "more": more,
        "query": kept.urlencode(),
        "actions": listing.actions_for(person(request)),
        "may_see_pictures": person(request).has_role(Role.ADMINISTRATOR),
    }
    return render(request, "office/list.html", context)


def _cells(listing: Listing, row: Any) -> list[tuple[Column, Any, str]]:
    return [(one, one.value(row), one.link(row) if one.link else "") for one in listing.columns]


@least(Role.VIEWER)
def act(request: HttpRequest, name: str) -> HttpResponseBase:
    """Asks, and then does something with the chosen rows. One that fails does not keep the others from it."""
    listing = _listing(request, name)
    action = next((one for one in listing.actions_for(person(request)) if one.name == request.GET.get("action")), None)
    chosen = request.GET.getlist("chosen")[:MOST_CHOSEN]
    if action is None or not chosen:
        messages.warning(request, gettext("Choose rows and an action first."))
        return redirect("office_list", name)
    rows = list(listing.rows().filter(pk__in=[one for one in chosen if _fits(listing, one)]))
    form = _form(action)(request.POST or None)
    if request.method == "POST" and form.is_valid():
        _carry_out(request, listing, action, rows, form.cleaned_data)
        return redirect("office_list", name)
    names = ", ".join(listing.label(row) for row in rows[:20]) + (" …" if len(rows) > 20 else "")
    back = redirect("office_list", name).url
    title = gettext("%(title)s?") % {"title": action.title}  # French has a space before the mark
    return asking.page(request, form, title, [str(action.will), names], str(action.title), back=back)


def _carry_out(
    request: HttpRequest, listing: Listing, action: Action, rows: list[Any], given: Mapping[str, Any]
) -> None:
    count = 0
    for row in rows:
        try:
            action.do(row, person(request), given["why"], given)
            count += 1
        except VisionloopError as error:
            messages.error(request, f"{listing.label(row)}: {asking.in_words(error)}")
    done = ngettext("Done for %(count)s row.", "Done for %(count)s rows.", count)
    messages.success(request, done % {"count": count})


class AnswerForm(forms.Form):
    """The answer to a message."""

    text = forms.CharField(
        label=gettext_lazy("Your answer"), max_length=10_000, widget=forms.Textarea(attrs={"rows": 8})
    )


@least(Role.ADMINISTRATOR)
def message(request: HttpRequest, number: int) -> HttpResponseBase:
    """A message of the contact form, and its answer, which goes out by mail."""
    found = get_object_or_404(Message, pk=number)
    form = AnswerForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            contact.answer(found, form.cleaned_data["text"], person(request))
        except VisionloopError as error:
            form.add_error("text", error.found)
        else:
            messages.success(request, gettext("The answer is on its way."))
            return redirect("office_list", "messages")
    return render(request, "office/message.html", {"message_": found, "form": form})


@least(Role.ADMINISTRATOR)
def thumbnail(request: HttpRequest, run: str) -> HttpResponseBase:
    """The small picture of somebody's run. For administrators only: it is the person's own."""
    try:
        content = files.read(run, files.THUMBNAIL)
    except (VisionloopError, OSError):
        raise Http404 from None
    return HttpResponse(content, content_type="image/jpeg", headers={"Cache-Control": "private, no-store"})


def _listing(request: HttpRequest, name: str) -> Listing:
    """Raises Http404, and PermissionDenied where the person's role is too small."""
    listing = every.ALL.get(name)
    if listing is None:
        raise Http404
    if not person(request).has_role(listing.least):
        raise PermissionDenied
    return listing


def _fits(listing: Listing, key: str) -> bool:
    """Whether a text can be a key of the list's rows."""
    try:
        listing.rows().model._meta.pk.to_python(key)
    except forms.ValidationError:
        return False
    return True


def _form(action: Action) -> type[asking.ReasonForm]:
    more = {name: make() for name, make in (action.fields or {}).items()}
    return type("ActionForm", (asking.ReasonForm,), {**more, "field_order": [*more, "why"]})


def _csv(listing: Listing, asked: Mapping[str, str]) -> HttpResponseBase:
    name = f"{listing.name}-{timezone.now():%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(
        _in_a_thread(_lines(listing, asked)), content_type="text/csv; charset=utf-8", headers=headers
    )


def _lines(listing: Listing, asked: Mapping[str, str]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    for line in listing.lines(asked):
        yield writer.writerow(line)


class _Echo:
    """What `csv` writes to: `writerow` returns what `write` returns."""

    def write(self, text: str) -> str:
        return text


async def _in_a_thread(lines: Iterator[str], at_once: int = 500) -> AsyncIterator[str]:
    """Django would collect all lines of an ordinary iterator before it sends the first."""
    take = sync_to_async(lambda: [line for _, line in zip(range(at_once), lines, strict=False)])
    while some := await take():
        yield "".join(some)
