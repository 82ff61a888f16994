"""The first page: a card for each model."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from registry.contract import catalog


def gallery(request: HttpRequest) -> HttpResponse:
    return render(request, "gallery/gallery.html", {"models": [catalog.get(name) for name in catalog.names()]})
