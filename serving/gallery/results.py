"""The pages of a run: its state while it lasts, its result, and what its owner may do with it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from registry.core.errors import NotFound, VisionloopError
from registry.core.settings import settings
from serving.gallery import cards, feedback, versions, viewer
from serving.runs import bundles, downloads, files, kinds, store
from serving.runs.models import Kind, Run, new_id, now
from serving.translation import errors, specs

SHARE_DAYS = (1, 7, 30)


def run(request: HttpRequest, run_id: str) -> HttpResponse:
    """A run at its own address: it survives reload, another device and sleep."""
    found = visible(request, run_id)
    context = _own(found)
    context["share_days"] = SHARE_DAYS
    if found.is_shared:
        context["share_address"] = request.build_absolute_uri(f"/shared/{downloads.share_token(found)}/")
    return render(request, "gallery/run.html", context)


def beside(request: HttpRequest, run_id: str) -> HttpResponse:
    """A run as a piece of a page, beside the upload on the page of its model."""
    found = visible(request, run_id)
    return render(request, "gallery/beside.html", _own(found))


def status(request: HttpRequest, run_id: str) -> HttpResponse:
    """The state of a run as a piece of a page, which asks for the next one itself.

    At the end the page reloads; with `?beside` the piece of `beside` takes its place.
    """
    found = visible(request, run_id)
    if found.over and "beside" in request.GET:
        response = beside(request, run_id)
        response["HX-Retarget"], response["HX-Reswap"] = "#result", "innerHTML"
        return response
    context = {"run": found, "spec": specs.get(found.model), "beside": "beside" in request.GET}
    response = render(request, "gallery/status.html", context)
    if found.over:
        response["HX-Refresh"] = "true"
    return response


def shared(request: HttpRequest, token: str) -> HttpResponse:
    """The result behind a link for others: to look at, nothing else."""
    try:
        found = downloads.shared_run(token)
    except NotFound as error:
        raise Http404(error.found) from error
    return render(request, "gallery/run.html", result(found, f"/shared/{token}/files/", f"/shared/{token}/"))


def _own(found: Run) -> dict[str, Any]:
    """What the templates need of a result that its owner, or anybody of an example, looks at."""
    context = result(found, f"/files/{found.id}/", f"/runs/{found.id}/")
    mine = found.owner_id is not None
    view = context["view"]
    moments = bool(mine and view and view.kind == "video" and Kind.PICTURE in kinds.kinds_of(context["spec"]))
    return {
        **context,
        "mine": mine,
        "takes_correction": bool(mine and view and view.labels),
        "takes_moment": moments,
        "given": feedback.given(found),
    }


def result(found: Run, address: str, page: str) -> dict[str, Any]:
    """What the templates of a result need.

    `answer`: the parsed `answer.json`; `files`: names of the files that are there; `files_at`: their address; `view`:
    how the answer is shown, once there is one.
    """
    present = files.present(found.id)
    answer = json.loads(files.read(found.id, files.ANSWER)) if files.ANSWER in present else {}
    version = cards.one(found.model).version
    spec = specs.get(found.model)
    bundle = bundles.of_version(found.model, found.version) if found.version is not None else None
    return {
        "run": found,
        "spec": spec,
        "view": viewer.view_of(found, spec, answer, present, address, page, bundle) if answer else None,
        "answer": answer,
        "files": present,
        "files_at": address,
        "page": page,
        "live": version,
        "drawn": bundle is not None and versions.learned_from_drawings(bundle),
        "older": version is not None and found.version is not None and version != found.version,
    }


def heat(request: HttpRequest, run_id: str) -> HttpResponse:
    """The heat map's place on the page: asks for one, then asks again until it is made."""
    found = visible(request, run_id)
    mine = found.owner_id is not None
    if request.method == "POST" and mine:
        store.ask_heatmap(found)
        found = visible(request, run_id)
    context = result(found, f"/files/{found.id}/", f"/runs/{found.id}/")
    return render(request, "gallery/result/heat.html", {**context, "mine": mine, "heat_new": True})


def compare(request: HttpRequest, run_id: str, other_id: str) -> HttpResponse:
    """Two results of the same file side by side."""
    pair = [visible(request, one) for one in (other_id, run_id)]
    sides = [result(one, f"/files/{one.id}/", f"/runs/{one.id}/") for one in pair]
    return render(request, "gallery/compare.html", {"sides": sides, "run": pair[1], "spec": sides[1]["spec"]})


@require_POST
@login_required
def act(request: HttpRequest, run_id: str, action: str) -> HttpResponse:
    """What its owner does with a run; then the page on which to see it."""
    try:
        found = store.own(run_id, request.user)
        return _ACTIONS[action](request, found)
    except NotFound as error:
        raise Http404(error.found) from error
    except VisionloopError as error:
        messages.error(request, errors.in_words(error))
        return redirect("run", run_id=run_id)


def _cancel(request: HttpRequest, found: Run) -> HttpResponse:
    store.cancel(found)
    return redirect(_shown_in(request), run_id=found.id)


def _retry(request: HttpRequest, found: Run) -> HttpResponse:
    store.retry(found)
    return redirect(_shown_in(request), run_id=found.id)


def _shown_in(request: HttpRequest) -> str:
    """The name of the address that shows a run where the person is: htmx asks for a piece of the page."""
    return "run_beside" if "HX-Request" in request.headers else "run"


def _again(request: HttpRequest, found: Run) -> HttpResponse:
    return redirect("run", run_id=store.repeat(found).id)


def _share(request: HttpRequest, found: Run) -> HttpResponse:
    days = request.POST.get("days", "")
    shared_until = now() + timedelta(days=int(days)) if days in map(str, SHARE_DAYS) else None
    name = (found.shared if found.is_shared else new_id()) if shared_until else ""
    Run.objects.filter(id=found.id).update(shared=name, shared_until=shared_until)
    return redirect("run", run_id=found.id)


def _delete(request: HttpRequest, found: Run) -> HttpResponse:
    store.delete(found)
    messages.success(request, gettext("%(name)s and its result are deleted.") % {"name": found.name})
    return redirect("history")


_ACTIONS = {
    "cancel": _cancel,
    "retry": _retry,
    "again": _again,
    "share": _share,
    "delete": _delete,
}
ACTIONS = tuple(_ACTIONS)


def visible(request: HttpRequest, run_id: str) -> Run:
    """The run, for those who may see it. Raises Http404."""
    try:
        found = store.visible(run_id, request.user)
    except NotFound as error:
        raise Http404(error.found) from error
    if found.owner_id is None and not (settings().gallery_open or request.user.is_authenticated):
        raise Http404
    return found
