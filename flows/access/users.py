"""users: create, list, role, disable, enable, delete, reset-second-factor."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from flows.options import complete
from registry.core import database
from registry.core.settings import settings
from serving.web import configuration

ROLES = ("user", "viewer", "operator", "administrator")


class AnAddress(click.ParamType):
    """The e-mail address of an account, completed by the shell."""

    name = "email"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        configuration.setup()
        return complete(_addresses)(ctx, param, incomplete)


def _addresses() -> dict[str, str]:
    """Address -> role of the accounts."""
    from serving.accounts.models import User

    return dict(User.objects.order_by("email").values_list("email", "role"))


Why = click.option("--why", default="", help="The reason, for the audit trail.")


@click.group()
def users() -> None:
    """Accounts of the web application: who may log in, and what they may do."""
    configuration.setup()
    database.migrate()
    configuration.make_tables()


@users.command()
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), default="user", show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, instead of making one.")
def create(email: str, role: str, password_stdin: bool) -> None:
    """Make an account for EMAIL and print its password, once."""
    from serving.accounts import audit, people

    given = sys.stdin.readline().rstrip("\n") if password_stdin else ""
    user, password = people.create(email, role, by=audit.command_line(), password=given)
    click.echo(f"{user.email}: {user.get_role_display()}; log in at {settings().web_address}/accounts/login/", err=True)
    if not given:
        click.echo("this password is shown once; the person can change it:", err=True)
        click.echo(password)


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """The accounts, with roles."""
    from allauth.mfa.models import Authenticator

    from serving.accounts.models import User

    with_factor = set(Authenticator.objects.values_list("user_id", flat=True))
    found = [
        {
            "email": user.email,
            "role": str(user.get_role_display()),
            "active": user.is_active,
            "second_factor": user.pk in with_factor,
            "since": user.date_joined.isoformat(timespec="seconds"),
            "last_login": user.last_login.isoformat(timespec="seconds") if user.last_login else None,
        }
        for user in User.objects.order_by("email")
    ]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        notes = [*(["disabled"] if not one["active"] else []), *(["second factor"] if one["second_factor"] else [])]
        last = str(one["last_login"] or "never")[:10]
        click.echo(f"{one['email']:<40} {one['role']:<14} last log-in {last}  {', '.join(notes)}".rstrip())
    if not found:
        click.echo("no accounts: `visionloop users create EMAIL --role administrator` makes one")


@users.command()
@click.argument("email", type=AnAddress())
@click.argument("role", type=click.Choice(ROLES))
@Why
def role(email: str, role: str, why: str) -> None:
    """Give the account EMAIL another ROLE. Its sessions end."""
    from serving.accounts import audit, people

    user = people.find(email)
    people.set_role(user, role, by=audit.command_line(), why=why)
    click.echo(f"{user.email} is {user.get_role_display()}")


@users.command()
@click.argument("email", type=AnAddress())
@click.option("--per-minute", type=click.IntRange(min=0), help="Requests of each key. 0: no limit.")
@click.option("--per-month", type=click.IntRange(min=0), help="The same per calendar month (UTC).")
@Why
def quota(email: str, per_minute: int | None, per_month: int | None, why: str) -> None:
    """Give each key of the account EMAIL a quota, also the pages' own and later ones.

    What is left out is as the settings say.
    """
    from serving.accounts import audit, people

    user = people.find(email)
    count = people.set_quota(user, per_minute=per_minute, per_month=per_month, by=audit.command_line(), why=why)
    click.echo(f"{user.email}: {count} {'key' if count == 1 else 'keys'} changed")


@users.command()
@click.argument("email", type=AnAddress())
@Why
def disable(email: str, why: str) -> None:
    """End the sessions and keys of the account EMAIL; it cannot log in until `enable`."""
    _set_active(email, False, why)


@users.command()
@click.argument("email", type=AnAddress())
@Why
def enable(email: str, why: str) -> None:
    """Let the account EMAIL log in again. Its old keys stay revoked."""
    _set_active(email, True, why)


@users.command()
@click.argument("email", type=AnAddress())
@click.option("--yes", "sure", is_flag=True, help="Do not ask.")
@Why
def delete(email: str, sure: bool, why: str) -> None:
    """Delete the account EMAIL with its keys, files, results, predictions and messages."""
    from serving.accounts import audit, own_data, people

    user = people.find(email)
    if not sure:
        click.confirm(f"Delete {user.email} and all that is kept of this person?", abort=True, err=True)
    own_data.erase(user, by=audit.command_line(), why=why)
    click.echo(f"{email} is deleted, with all that was kept")


@users.command("reset-second-factor")
@click.argument("email", type=AnAddress())
@Why
def reset_second_factor(email: str, why: str) -> None:
    """Remove the second factor of the account EMAIL, for somebody who lost it. Its password stays."""
    from serving.accounts import audit, people

    user = people.find(email)
    count = people.reset_second_factor(user, by=audit.command_line(), why=why)
    click.echo(f"{user.email} logs in with the password alone" if count else f"{user.email} had no second factor")


def _set_active(email: str, active: bool, why: str) -> None:
    from serving.accounts import audit, people

    user = people.find(email)
    people.set_active(user, active, by=audit.command_line(), why=why)
    click.echo(f"{user.email} is {'enabled' if active else 'disabled'}")
