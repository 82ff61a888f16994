"""`/runs/<run>/slices/`: slices of a scan as pictures, for those who may see the run or have its link."""

from __future__ import annotations

from collections.abc import Callable

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse

from registry.core.errors import BadInput, NotFound
from serving.gallery import results, slices
from serving.runs import downloads
from serving.runs.models import Run


def own_about(request: HttpRequest, run_id: str) -> HttpResponse:
    return _answered(lambda: results.visible(request, run_id), _about)


def own_png(request: HttpRequest, run_id: str, axis: int, number: int) -> HttpResponse:
    return _answered(lambda: results.visible(request, run_id), lambda run: _png(request, run, axis, number))


def shared_about(request: HttpRequest, token: str) -> HttpResponse:
    return _answered(lambda: downloads.shared_run(token), _about)


def shared_png(request: HttpRequest, token: str, axis: int, number: int) -> HttpResponse:
    return _answered(lambda: downloads.shared_run(token), lambda run: _png(request, run, axis, number))


def _answered(find: Callable[[], Run], answer: Callable[[Run], HttpResponse]) -> HttpResponse:
    try:
        response = answer(find())
    except NotFound as error:
        raise Http404(error.found) from error
    except BadInput as error:
        return HttpResponse(error.found, status=422, content_type="text/plain")
    response["Cache-Control"] = "private, max-age=600"
    return response


def _about(run: Run) -> HttpResponse:
    return JsonResponse(slices.about(slices.scan_of(run)))


def _png(request: HttpRequest, run: Run, axis: int, number: int) -> HttpResponse:
    return HttpResponse(slices.png(slices.scan_of(run), axis, number, request.GET.dict()), content_type="image/png")
