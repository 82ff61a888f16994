"""The language that a person chose in the profile, and the second factor that the back office may ask for."""

from __future__ import annotations

from collections.abc import Callable

from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext

from registry.core.settings import settings


class ChosenLanguage:
    """Pages in the chosen language, whatever browser is used. After Django's LocaleMiddleware and its log-in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        chosen = getattr(request.user, "language", "") if request.user.is_authenticated else ""
        if chosen:
            translation.activate(chosen)
            request.LANGUAGE_CODE = chosen
        return self._get_response(request)


class OfficeSecondFactor:
    """With the setting `office_second_factor`, nobody enters the back office who logs in with a password alone."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if (
            settings().office_second_factor
            and request.path.startswith(reverse("office"))
            and request.user.is_authenticated
            and not is_mfa_enabled(request.user)
        ):
            messages.warning(request, gettext("The back office needs a second factor. Set one up here."))
            return redirect("mfa_index")
        return self._get_response(request)
