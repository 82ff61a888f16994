"""The gallery, and the page of a model."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from registry.core.errors import NotFound
from registry.core.settings import settings
from serving.gallery import about, cards, key_views

TABS = ("try", "examples", "api", "about")


def gallery(request: HttpRequest) -> HttpResponse:
    """All models. Whether people without an account may look, the setting `gallery_open` says."""
    return _closed(request) or render(request, "gallery/gallery.html", {"cards": cards.every()})


def model(request: HttpRequest, name: str) -> HttpResponse:
    """One model: try it, its examples, its API, and what is known about it."""
    if (closed := _closed(request)) is not None:
        return closed
    try:
        card = cards.one(name)
    except NotFound as error:
        raise Http404(error.found) from error
    tab = request.GET.get("tab", "")
    config = settings()
    context: dict[str, Any] = {
        "card": card,
        "tab": tab if tab in TABS else TABS[0],
        "max_bytes": config.max_upload_mb * 2**20,
        "max_mb": config.max_upload_mb,
        "max_video_s": config.max_video_s,
        "days": config.retention_days,
        "router": config.router_address,
        "own_keys": key_views.usable(request.user, name),
        "about": about.of(card),
        "threshold": about.threshold(card),
    }
    return render(request, "gallery/model.html", context)


def _closed(request: HttpRequest) -> HttpResponse | None:
    """A way to the log-in, where the gallery is not open to everybody."""
    if settings().gallery_open or request.user.is_authenticated:
        return None
    return redirect_to_login(request.get_full_path(), django_settings.LOGIN_URL)
