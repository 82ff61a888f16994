"""The pages of one's own account, beside those of allauth, and the contact form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from allauth.account.decorators import reauthentication_required
from allauth.decorators import rate_limit
from allauth.usersessions.models import UserSession
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.views import i18n
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from registry.core.errors import VisionloopError
from serving.accounts import contact, own_data
from serving.accounts.contact import ContactForm
from serving.accounts.forms import DeletionForm, ProfileForm
from serving.accounts.models import User
from serving.translation import errors


def person(request: HttpRequest) -> User:
    """Who is logged in. For views behind `login_required`."""
    assert isinstance(request.user, User)
    return request.user


@login_required
def profile(request: HttpRequest) -> HttpResponseBase:
    form = ProfileForm(request.POST or None, instance=person(request))
    if request.method == "POST" and form.is_valid():
        form.save()
        translation.activate(form.cleaned_data["language"] or translation.get_language_from_request(request))
        messages.success(request, gettext("Saved."))
        return redirect("account_profile")
    return render(request, "accounts/profile.html", {"form": form})


@login_required
def data(request: HttpRequest) -> HttpResponseBase:
    return render(request, "accounts/data.html", {"form": DeletionForm(person(request))})


@login_required
@reauthentication_required
@never_cache
def export(request: HttpRequest) -> HttpResponseBase:
    name = f"visionloop-{timezone.now():%Y-%m-%d}.zip"
    pieces = _in_a_thread(own_data.export(person(request)))
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(pieces, content_type="application/zip", headers=headers)


async def _in_a_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Django would collect all pieces of an ordinary iterator before it sends the first."""
    take = sync_to_async(lambda: next(pieces, None))
    while (piece := await take()) is not None:
        if piece:
            yield piece


@login_required
@require_POST
@rate_limit(action="reauthenticate")
def delete(request: HttpRequest) -> HttpResponseBase:
    form = DeletionForm(person(request), request.POST)
    if form.is_valid():
        try:
            own_data.erase(person(request))
        except VisionloopError as error:
            form.add_error(None, errors.in_words(error))
        else:
            logout(request)
            messages.success(request, gettext("Your account and all its data are deleted."))
            return redirect("gallery")
    return render(request, "accounts/data.html", {"form": form}, status=422)


@login_required
@require_POST
def end_session(request: HttpRequest, number: int) -> HttpResponseBase:
    get_object_or_404(UserSession, pk=number, user=person(request)).end()
    messages.success(request, gettext("That session has ended."))
    return redirect("usersessions_list")


@rate_limit(action="contact")
def contact_page(request: HttpRequest) -> HttpResponseBase:
    user = request.user if isinstance(request.user, User) else None
    if request.method != "POST":
        initial = {"name": user.get_full_name(), "email": user.email} if user else {}
        return render(
            request, "accounts/contact.html", {"form": ContactForm(initial={**initial, "opened": contact.opened()})}
        )
    form = ContactForm(request.POST)
    if form.is_spam() or form.is_valid():
        if not form.is_spam():
            contact.receive(form, user)
        messages.success(request, gettext("Thank you. Your message has arrived; the answer comes by e-mail."))
        return redirect("contact")
    if "opened" in form.errors:
        form.data = {**request.POST.dict(), "opened": contact.opened()}  # type: ignore[assignment]
    return render(request, "accounts/contact.html", {"form": form}, status=422)


@require_POST
def set_language(request: HttpRequest) -> HttpResponseBase:
    """As Django's, and remembered for somebody who is logged in."""
    chosen = request.POST.get("language", "")
    if isinstance(request.user, User) and chosen in dict(settings.LANGUAGES) and request.user.language:
        request.user.language = chosen
        request.user.save(update_fields=["language"])
    answer: HttpResponse = i18n.set_language(request)
    return answer
