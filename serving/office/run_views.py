"""Runs of Prefect: trainings, releases and imports, live; and the form that starts a training."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy

from registry.core.errors import NotFound, VisionloopError
from registry.core.settings import settings
from serving.accounts import audit
from serving.accounts.models import Role
from serving.office import asking
from serving.office.roles import least, person
from serving.operations import prefect_api
from serving.translation import specs

SHOWN = 40


class TrainingForm(asking.ReasonForm):
    """Which model, and whether from its data or from the labels of its predictions."""

    model = forms.ChoiceField(label=gettext_lazy("Model"))
    kind = forms.ChoiceField(
        label=gettext_lazy("Training"),
        choices=(
            ("loop", gettext_lazy("the whole loop, from its data set to a release")),
            ("retrain", gettext_lazy("fine-tune the champion on labelled predictions")),
        ),
    )

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["model"].choices = [(spec.name, spec.title) for spec in specs.all_specs()]
        self.order_fields(["model", "kind", "why"])


@least(Role.VIEWER)
def runs(request: HttpRequest) -> HttpResponseBase:
    return render(request, "office/runs.html", _runs(request))


@least(Role.VIEWER)
def runs_now(request: HttpRequest) -> HttpResponseBase:
    return render(request, "office/runs_now.html", _runs(request))


def _runs(request: HttpRequest) -> dict[str, Any]:
    found: dict[str, Any] = {"runs": [], "away": "", "may_operate": person(request).has_role(Role.OPERATOR)}
    try:
        found["runs"] = prefect_api.runs(SHOWN)
    except VisionloopError as error:
        found["away"] = asking.in_words(error)
    return {**found, "prefect": settings().prefect_page, "mlflow": settings().mlflow_page()}


@least(Role.VIEWER)
def run(request: HttpRequest, identity: UUID) -> HttpResponseBase:
    return render(request, "office/run.html", _run(request, str(identity)))


@least(Role.VIEWER)
def run_now(request: HttpRequest, identity: UUID) -> HttpResponseBase:
    return render(request, "office/run_now.html", _run(request, str(identity)))


def _run(request: HttpRequest, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": identity, "run": None, "away": "", "lines": []}
    try:
        found |= {"run": prefect_api.run(identity), "lines": prefect_api.lines(identity)}
    except NotFound:
        raise Http404 from None
    except VisionloopError as error:
        found["away"] = asking.in_words(error)
    return {**found, "prefect": settings().prefect_page, "may_operate": person(request).has_role(Role.OPERATOR)}


@least(Role.OPERATOR)
def train(request: HttpRequest) -> HttpResponseBase:
    """Starts a training. What the gate grants of it takes the traffic."""
    form, problem = TrainingForm(request.POST or None, initial={"model": request.GET.get("model", "")}), ""
    if request.method == "POST" and form.is_valid():
        model, kind, why = (form.cleaned_data[name] for name in ("model", "kind", "why"))
        user = person(request)
        asked = {"model": model, "asked_by": user.email, **({"why": why} if kind == "loop" else {})}
        try:
            begun = prefect_api.start(kind, f"{kind}-{model}", f"{model}: {why}", asked)
        except VisionloopError as error:
            problem = asking.in_words(error)
        else:
            audit.note(user, f"run.{kind}", model, why, run=begun)
            messages.success(request, gettext("The training has begun. This page follows it."))
            return redirect("office_run", begun)
    will = [
        gettext("A run begins as soon as no other training runs. It takes minutes to hours."),
        gettext(
            "The gate compares the new version with the champion. If it grants the version, it gets every request."
        ),
    ]
    title, button = gettext("Start a training"), gettext("Start the training")
    return asking.page(request, form, title, will, button, back="office_runs", problem=problem)


@least(Role.OPERATOR)
def cancel(request: HttpRequest, identity: UUID) -> HttpResponseBase:
    """Ends a run in order."""
    form, problem = asking.ReasonForm(request.POST or None), ""
    if request.method == "POST" and form.is_valid():
        try:
            prefect_api.cancel(str(identity))
        except NotFound:
            raise Http404 from None
        except VisionloopError as error:
            problem = asking.in_words(error)
        else:
            audit.note(person(request), "run.cancel", str(identity), form.cleaned_data["why"])
            return redirect("office_run", identity)
    will = [gettext("The run ends with all its processes. A training continues from its last checkpoint next time.")]
    back = redirect("office_run", identity).url
    return asking.page(
        request, form, gettext("Cancel this run?"), will, gettext("Cancel the run"), back=back, problem=problem
    )
