"""People with accounts and a session: in a process of its own, since tests of the API set Django up without accounts.

`python -m tests.serving.people a@example.org viewer:b@example.org` prints the session key of each, made if need
be, the second one with a role.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import httpx

from registry.core.settings import settings
from tests.conftest import PROJECT

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in."""

    email: str
    session: str

    def client(self, address: str) -> httpx.Client:
        """An HTTP client with this person's session, and a valid CSRF token in its headers."""
        client = httpx.Client(base_url=address, cookies={"sessionid": self.session}, timeout=60, trust_env=False)
        client.get("/models/object_detection/")
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        return client

    def cookie(self, address: str) -> dict[str, Any]:
        """For a browser."""
        return {"name": "sessionid", "value": self.session, "url": address}


def make(*emails: str) -> list[Person]:
    """The people of these addresses, each with a new session; `role:address` for somebody with a role."""
    made = _printed(*emails)
    return [Person(email.rpartition(":")[2], session) for email, session in zip(emails, made, strict=True)]


def _printed(*arguments: str) -> list[str]:
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "tests.serving.people", *arguments]
    made = subprocess.run(command, env=env, cwd=settings().root, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.split()


def session_of(email: str, confirmed: bool = False) -> str:
    """The key of a new session of somebody. For a process whose Django has the web application's secret.

    Args:
        confirmed: as if the person had just given the password again, which some pages ask for.
    """
    from django.conf import settings as django_settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from serving.accounts.models import User

    role, _, address = email.rpartition(":")
    user = User.objects.filter(email=address).first() or User.objects.create_user(address, PASSWORD, role=role)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = django_settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    if confirmed:
        session["account_authentication_methods"] = [
            {"method": "password", "at": time.time() + 3600, "reauthenticated": True}
        ]
        session["account_authentication_methods_user"] = str(user.pk)
    session.create()
    return str(session.session_key)


if __name__ == "__main__":
    from serving.web import configuration

    configuration.setup()
    print(*[session_of(email) for email in sys.argv[1:]])
