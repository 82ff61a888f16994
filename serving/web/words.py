"""A filter that every template has, without `load`."""

from __future__ import annotations

import re

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.filter
def with_code(text: object) -> SafeString:
    """A message in which commands stand between backticks, as on a terminal: with `<code>` around each."""
    return mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", conditional_escape(text)))
