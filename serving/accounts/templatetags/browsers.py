"""What a browser calls itself, for people: `{{ session.user_agent|browser }}`."""

from __future__ import annotations

import re

from django import template

register = template.Library()

_NAMES = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
_SYSTEMS = {"Android": "Android", "iPhone|iPad": "iOS", "Windows": "Windows", "Mac OS X": "macOS", "Linux": "Linux"}
"""In this order: browsers also name those that they are like."""


@register.filter
def browser(user_agent: str) -> str:
    """E.g. "Firefox, Linux"; its first words where nothing is known."""
    found = (_first(known, user_agent) for known in (_NAMES, _SYSTEMS))
    return ", ".join(name for name in found if name) or user_agent[:40]


def _first(known: dict[str, str], user_agent: str) -> str:
    return next((name for mark, name in known.items() if re.search(mark, user_agent)), "")
