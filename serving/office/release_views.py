"""Models with their versions, and the buttons of releases, which call the functions that the command line calls."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy

from registry.contract import catalog
from registry.core.errors import MissingService, NotFound, Refused, VisionloopError
from serving.accounts import audit
from serving.accounts.models import Role
from serving.office import asking
from serving.office.roles import least, person
from serving.operations import model_facts, prefect_api
from serving.operations.model_facts import ModelFacts, VersionRow
from serving.releases import moves, store
from serving.translation import specs

ACTIONS = ("release", "canary", "shadow", "ab", "promote", "rollback")
TITLES = {
    "release": gettext_lazy("Release version %(version)s of %(model)s?"),
    "canary": gettext_lazy("Begin a canary of version %(version)s of %(model)s?"),
    "shadow": gettext_lazy("Let version %(version)s shadow %(model)s?"),
    "ab": gettext_lazy("Compare version %(version)s of %(model)s in an A/B test?"),
    "promote": gettext_lazy("Promote version %(second)s of %(model)s?"),
    "rollback": gettext_lazy("Roll %(model)s back?"),
}
BUTTONS = {
    "release": gettext_lazy("Release"),
    "canary": gettext_lazy("Begin the canary"),
    "shadow": gettext_lazy("Begin the shadow"),
    "ab": gettext_lazy("Begin the A/B test"),
    "promote": gettext_lazy("Promote"),
    "rollback": gettext_lazy("Roll back"),
}


class ReleaseForm(asking.ReasonForm):
    """`revision`: of the plan that the person saw. `anyway` is there where the gate did not grant the version."""

    revision = forms.IntegerField(widget=forms.HiddenInput)
    share = forms.IntegerField(
        label=gettext_lazy("Share of the requests, in percent"), min_value=1, max_value=99, initial=10
    )
    anyway = forms.BooleanField(label=gettext_lazy("Do it although the gate did not grant this version"))

    def __init__(self, *args: Any, shared: bool, granted: bool, **more: Any) -> None:
        super().__init__(*args, **more)
        self.order_fields(["revision", "share", "anyway", "why"])
        if not shared:
            del self.fields["share"]
        if granted:
            del self.fields["anyway"]


@least(Role.VIEWER)
def models(request: HttpRequest) -> HttpResponseBase:
    rows = [{"name": spec.name, "title": spec.title, "plan": store.plan(spec.name)} for spec in specs.all_specs()]
    return render(request, "office/models.html", {"rows": rows})


@least(Role.VIEWER)
def model(request: HttpRequest, name: str) -> HttpResponseBase:
    may_operate = person(request).has_role(Role.OPERATOR)
    context = {"name": name, "title": _title(name), "facts": model_facts.gather(name), "may_operate": may_operate}
    return render(request, "office/model.html", context)


@least(Role.OPERATOR)
def change(request: HttpRequest, name: str, action: str) -> HttpResponseBase:
    """Asks, and then changes the release plan or starts the run that does."""
    title, facts = _title(name), model_facts.gather(name)
    number = request.GET.get("version", "")
    version = int(number) if number.isdecimal() else None
    if action in ("promote", "rollback"):
        version = facts.plan.second if facts.plan else None
        if version is None and not (action == "rollback" and facts.plan and facts.plan.previous):
            messages.warning(request, gettext("There is nothing to promote or to go back to."))
            return redirect("office_model", name)
    elif facts.version(version) is None:
        raise Http404
    row = facts.version(version)
    form = ReleaseForm(
        request.POST or None,
        shared=action in ("canary", "ab"),
        granted=_needs_no_word(action, row),
        initial={"revision": store.revision(name), "share": 50 if action == "ab" else 10},
    )
    problem = ""
    if request.method == "POST" and form.is_valid():
        try:
            return _do(request, name, action, version, form.cleaned_data)
        except VisionloopError as error:
            problem = asking.in_words(error)
    words = {"model": title, "version": version, "second": version}
    heading, button = str(TITLES[action]) % words, str(BUTTONS[action])
    back = redirect("office_model", name).url
    return asking.page(request, form, heading, _will(action, facts, version), button, back=back, problem=problem)


def _needs_no_word(action: str, row: VersionRow | None) -> bool:
    """Whether the gate's word is not missing. A trial's promotion goes by the reason that the trial began with; each
    new release of a version that was not granted needs a reason of its own, as at the command line."""
    if action in ("shadow", "rollback"):
        return True
    return bool(row and (row.granted or (action == "promote" and row.anyway)))


def _will(action: str, facts: ModelFacts, version: int | None) -> list[str]:
    """What will happen, in sentences."""
    plan = facts.plan
    words = {"version": version, "live": plan.live if plan else "–", "previous": plan.previous if plan else "–"}
    warm = gettext("Version %(live)s stays warm, so that a rollback is at once.")
    starts = gettext("The guard starts the service of version %(version)s. It must pass its golden samples.")
    said = {
        "release": [starts, gettext("Then it gets every request, and none is dropped."), warm],
        "canary": [
            starts,
            gettext("It gets the share of requests that you choose; version %(live)s keeps the rest."),
            gettext("The share grows by itself while every guardrail holds. If one breaks, the guard rolls back."),
        ],
        "shadow": [starts, gettext("It gets copies of requests. Its answers are compared and thrown away.")],
        "ab": [
            starts,
            gettext("Callers are shared between it and version %(live)s until labels say which is better."),
        ],
        "promote": [gettext("Version %(version)s gets every request at once, and none is dropped."), warm],
        "rollback": [
            gettext("The trial of version %(version)s ends. Version %(live)s keeps every request.")
            if version
            else gettext("Version %(previous)s gets every request again, and version %(live)s none.")
        ],
    }[action]
    return [line % words for line in said]


def _do(request: HttpRequest, name: str, action: str, version: int | None, given: dict[str, Any]) -> HttpResponse:
    """Raises Refused: the plan has changed since the page was shown; and what the functions of releases raise."""
    user, why, revision = person(request), given["why"], given["revision"]
    if revision != store.revision(name):
        raise Refused(
            gettext("The release plan has changed since you opened this page"),
            fix=gettext("Read it again, then decide"),
        )
    plan = store.plan(name)
    anyway = why if given.get("anyway") else ""
    about: dict[str, Any] = {key: given[key] for key in ("share", "anyway") if key in given}
    before = {"live": plan.live, "second": plan.second} if plan else {}
    line = (user, f"release.{action}", f"{name}@{version or (plan.previous if plan else '')}", why)
    asked = {"model": name, "action": action, "versions": [], "why": why, "who": user.email, "anyway": anyway}
    try:
        if action == "promote":
            moves.promote(name, who=user.email, why=why, anyway=anyway, revision=revision)
        elif action == "rollback":
            moves.roll_back(name, who=user.email, why=why, revision=revision)
        else:
            pair = [str(plan.live)] if action == "ab" and plan else []
            asked |= {"versions": [*pair, str(version)], **({"share": given["share"]} if "share" in given else {})}
            return _by_run(request, name, asked, line, {**about, "before": before})
    except NotFound:  # the version before is not warm any more
        if action != "rollback":
            raise
        return _by_run(request, name, asked, line, {"before": before})
    except MissingService as error:
        if store.revision(name) == revision:
            raise
        messages.warning(request, asking.in_words(error))  # changed, and the router has not said so yet
    audit.note(*line, before=before, **about)
    messages.success(request, gettext("Done."))
    return redirect("office_model", name)


def _by_run(request: HttpRequest, name: str, asked: dict[str, Any], line: Any, about: dict[str, Any]) -> HttpResponse:
    """Starts the flow that packages the version, has the guard start it, and changes the plan."""
    run = prefect_api.start("release", f"release-{name}", f"{asked['action']} of {name}: {asked['why']}", asked)
    audit.note(*line, run=run, **about)
    messages.success(request, gettext("The release has begun. This page follows it."))
    return redirect("office_run", run)


def _title(name: str) -> str:
    if name not in catalog.names():
        raise Http404
    return specs.title(name)
