"""What the layout of every page needs, beside what Django gives it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from registry.core.settings import settings
from serving.accounts.models import Role

OFFICE_FRAME = "office/frame.html"


def page(request: HttpRequest) -> dict[str, Any]:
    """`in_office`: whether the person may look at the back office; `here`: the path, to come back to;
    `letters_are_files`: there is no mail server; `frame`: the layout of a page that belongs to no room, such as "There
    is no such page": with the back office's menu where the address is one of it."""
    user = getattr(request, "user", None)
    in_office = bool(user is not None and user.is_authenticated and user.has_role(Role.VIEWER))
    letters_are_files = not settings().smtp_url
    return {
        "in_office": in_office,
        "here": request.get_full_path(),
        "letters_are_files": letters_are_files,
        "frame": OFFICE_FRAME if in_office and request.path.startswith("/office/") else "base.html",
    }
