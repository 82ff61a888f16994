"""Decision pages, drift reports, data docs and the story, for people who may look at the back office.

These pages were written for a file or a local port, with styles and some with scripts inside. Each has a policy of its
own: without scripts, or with scripts in a sandbox that can reach neither the network nor this site's cookies.
"""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path

import httpx
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext, gettext_lazy

from registry.contract import catalog
from registry.core.errors import MissingService
from registry.core.settings import settings
from serving.accounts.models import Role
from serving.office import asking
from serving.office.roles import least
from serving.operations import documents
from serving.translation import specs

TITLES = {
    "decisions": gettext_lazy("Decisions of the gate"),
    "reports": gettext_lazy("Drift reports"),
    "data-docs": gettext_lazy("Data docs"),
}
LATEST = 6
STORY_WITHIN_S = 5.0
_LOOKS = "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; base-uri 'none'"
QUIET = f"default-src 'none'; {_LOOKS}; form-action 'none'; frame-ancestors 'none'"
SANDBOX = f"{QUIET}; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; sandbox allow-scripts allow-downloads"
"""For Evidently's report, which is a program: an origin of its own, and nothing to connect to."""


@least(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponseBase:
    groups = [(name, title, documents.find(name, most=LATEST)) for name, title in TITLES.items()]
    return render(request, "office/documents.html", {"groups": groups})


@least(Role.VIEWER)
def folder(request: HttpRequest, name: str) -> HttpResponseBase:
    """The pages of one kind, of all models or one."""
    chosen = request.GET.get("model", "")
    model = chosen if chosen in catalog.names() else ""
    models = [(spec.name, spec.title) for spec in specs.all_specs()]
    context = {"name": name, "title": TITLES[name], "found": documents.find(name, model), "models": models}
    return render(request, "office/folder.html", {**context, "chosen": model})


@least(Role.VIEWER)
def document(request: HttpRequest, name: str, path: str) -> HttpResponseBase:
    """A page, or a picture or style that belongs to one."""
    found = documents.file(name, path)
    if found is None:
        raise Http404
    media = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
    policy = SANDBOX if found.name == "report.html" else QUIET
    return FileResponse(Path(found).open("rb"), content_type=media, headers={"Content-Security-Policy": policy})


@least(Role.VIEWER)
def story(request: HttpRequest) -> HttpResponseBase:
    """The story of the latest run as it is now, from the supervisor."""
    address = settings().home_address
    host = settings().host
    asked = f"http://127.0.0.1:{settings().home_port}" if host in ("0.0.0.0", "::") else address
    try:
        answer = httpx.get(f"{asked}/story.html", timeout=STORY_WITHIN_S, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError:
        away = MissingService(gettext("The story page does not answer"), fix=gettext("`visionloop up` starts it"))
        return render(request, "office/away.html", {"problem": asking.in_words(away)}, status=503)
    folders = "|".join(documents.PATTERNS)
    page = re.sub(rf'href="{re.escape(address)}/({folders})/', r'href="/office/documents/\1/', answer.text)
    return HttpResponse(page, headers={"Content-Security-Policy": QUIET})
