"""The front page: is everything all right? And the buttons of processes."""

from __future__ import annotations

import threading

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext

from registry.core.errors import VisionloopError
from serving.accounts import audit
from serving.accounts.models import Role
from serving.office import asking, overview
from serving.office.roles import least, person
from serving.operations import supervisor


@least(Role.VIEWER)
def front(request: HttpRequest) -> HttpResponseBase:
    return render(request, "office/front.html", _front(request))


@least(Role.VIEWER)
def now(request: HttpRequest) -> HttpResponseBase:
    """The part of the front page that lives."""
    return render(request, "office/now.html", _front(request))


def _front(request: HttpRequest) -> dict[str, object]:
    may_operate = person(request).has_role(Role.OPERATOR)
    return {"now": overview.gather(), "now_time": timezone.now(), "may_operate": may_operate}


@least(Role.OPERATOR)
def process(request: HttpRequest, name: str, action: str) -> HttpResponseBase:
    """Asks for a reason, then restarts a process, or drains and stops it."""
    form = asking.ReasonForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        restart = action == "restart"
        title = gettext("Restart %(name)s?") if restart else gettext("Drain and stop %(name)s?")
        will = [
            gettext("It finishes the requests that it has, and takes no new ones meanwhile."),
            gettext("Then it is started again. This takes some seconds.")
            if restart
            else gettext("Then it stops. If a release plan needs it, the guard starts it again."),
        ]
        button = gettext("Restart") if restart else gettext("Drain and stop")
        return asking.page(request, form, title % {"name": name}, will, button, back="office")
    return _do(request, name, action, form.cleaned_data["why"])


def _do(request: HttpRequest, name: str, action: str, why: str) -> HttpResponse:
    act = {"restart": supervisor.restart, "drain": supervisor.drain}[action]
    try:
        if name not in {one.name for one in supervisor.processes()}:
            raise Http404
        audit.note(person(request), f"process.{action}", name, why)
        if name == supervisor.WEB:  # this process: it ends once it has answered
            threading.Thread(target=act, args=(name,), name=f"{action} of {name}").start()
        else:
            act(name)
    except VisionloopError as error:
        messages.error(request, asking.in_words(error))
    else:
        done = gettext("%(name)s restarts.") if action == "restart" else gettext("%(name)s is stopped.")
        messages.success(request, done % {"name": name})
    return redirect("office")
