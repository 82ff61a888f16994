"""Django's table of addresses: the typed routes."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from registry.core.errors import NotFound, VisionloopError
from serving.api.routes import answer, api

urlpatterns = [path("", api.urls)]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(NotFound(f"there is no {request.path[:200]}", fix="/docs lists what there is"))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    return handler500(request)


def handler500(request: HttpRequest) -> HttpResponse:
    return answer(VisionloopError("the router failed on this request", fix="try again; its log says why"))
