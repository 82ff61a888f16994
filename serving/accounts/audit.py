"""The trail of what people did to the platform. Every change of accounts, roles, keys and releases leaves a line."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from typing import Any

from serving.accounts.models import AuditLine, Role, User

_USER = "user "


def note(who: User | str, what: str, target: User | str = "", why: str = "", **details: Any) -> AuditLine:
    """Adds a line.

    Args:
        who: the person, or the text of `command_line()`.
        what: a short verb, e.g. "release.promote".
        target: what it was done to.
        why: the reason that was given.
        details: more, as JSON. No names or addresses of people: the line stays when an account is deleted.
    """
    return AuditLine.objects.create(
        who=who if isinstance(who, str) else name_of(who),
        what=what,
        target=f"{_USER}{target.pk}" if isinstance(target, User) else target,
        why=why,
        details=details,
    )


def name_of(user: User) -> str:
    """The e-mail address of somebody with a role. Of others a number, which means nothing once they are gone."""
    return user.email if user.role != Role.USER else f"{_USER}{user.pk}"


def command_line() -> str:
    """Who types a command."""
    return f"{getpass.getuser()} (command line)"


def addresses(names: Iterable[str]) -> dict[str, str]:
    """Those of the names "user 17" whose accounts exist, with their e-mail addresses: to show lines to people."""
    numbers = {name: name.removeprefix(_USER) for name in names if name.startswith(_USER)}
    found = dict(User.objects.filter(pk__in=[n for n in numbers.values() if n.isdigit()]).values_list("pk", "email"))
    return {name: found[int(n)] for name, n in numbers.items() if n.isdigit() and int(n) in found}
