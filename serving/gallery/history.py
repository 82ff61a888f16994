"""What a person has sent, newest first, to filter and to go back to."""

from __future__ import annotations

from datetime import date, datetime, time
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from registry.core.settings import settings
from serving.gallery import cards
from serving.runs.models import Run, State
from serving.translation import specs
from serving.uploads import quotas

PAGE = 24
FILTERS = ("model", "state", "label", "since", "until")


@login_required
def history(request: HttpRequest) -> HttpResponse:
    """One's own runs; filters by model, state, class and day."""
    mine = Run.objects.filter(owner=request.user)
    chosen = {name: request.GET.get(name, "") for name in FILTERS}
    page = Paginator(_filtered(mine, chosen), PAGE).get_page(request.GET.get("page"))
    labels = {label for text in mine.values_list("labels", flat=True)[:500] for label in text.split("|") if label}
    context = {
        "page": page,
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "query": urlencode({name: value for name, value in chosen.items() if value}),
        "specs": specs.all_specs(),
        "states": State.choices,
        "labels": sorted(labels),
        "usage": quotas.usage(request.user),
        "days": settings().retention_days,
        "live": {card.spec.name: card.version for card in cards.every()},
    }
    return render(request, "gallery/history.html", context)


def _filtered(runs: QuerySet[Run], chosen: dict[str, str]) -> QuerySet[Run]:
    if chosen["model"]:
        runs = runs.filter(model=chosen["model"])
    if chosen["state"] in State.values:
        runs = runs.filter(state=chosen["state"])
    if chosen["label"]:
        runs = runs.filter(labels__contains=f"|{chosen['label']}|")
    if (since := _day(chosen["since"])) is not None:
        runs = runs.filter(created__gte=timezone.make_aware(datetime.combine(since, time.min)))
    if (until := _day(chosen["until"])) is not None:
        runs = runs.filter(created__lte=timezone.make_aware(datetime.combine(until, time.max)))
    return runs


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
