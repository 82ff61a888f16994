"""The page between a button and its effect: it says what will happen and asks for a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.translation import gettext_lazy

from registry.core.errors import VisionloopError
from serving.translation import errors


class ReasonForm(forms.Form):
    """Why somebody does something: for the audit trail and the history of releases."""

    why = forms.CharField(
        label=gettext_lazy("Reason"),
        help_text=gettext_lazy("It is kept in the audit trail."),
        max_length=300,
        min_length=3,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


def page(
    request: HttpRequest,
    form: forms.Form | None,
    title: str,
    will: Sequence[str],
    button: str,
    *,
    back: Any,
    problem: str = "",
) -> HttpResponse:
    """The page. `will`: what will happen, a sentence each; `back`: where Cancel leads; `problem`: of the last try."""
    context = {"form": form, "title": title, "will": will, "button": button, "back": resolve_url(back)}
    wrong = bool(problem or (form is not None and form.errors))
    return render(request, "office/ask.html", {**context, "problem": problem}, status=422 if wrong else 200)


def in_words(error: VisionloopError) -> str:
    """An error for a message of one line, in the reader's language."""
    return errors.in_words(error)
