"""release, rollback: which versions of a model get its traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from flows.access import trail
from flows.cli.release_options import ReleaseOptions, limit_of, parse, shares_of
from flows.options import complete, model_argument, model_version_argument, prepare
from serving.web import configuration

if TYPE_CHECKING:
    from serving.releases.plans import Kind


@click.command()
@model_version_argument
@click.argument(
    "what", required=False, metavar="[VERSION|ACTION]", shell_complete=complete(lambda: dict.fromkeys(ACTIONS, ""))
)
@click.argument("versions", nargs=-1)
@click.option("--share", type=int, help="canary, ab: percent of the requests for the second version, 1 to 99.")
@click.option("--sticky", type=click.Choice(("caller", "request")), help="canary, ab: who gets the same version again.")
@click.option("--steps", help="canary: the shares of its steps, e.g. 10,50,100; `none` stays at --share.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=VALUE", help="A guardrail, see docs/releases.md.")
@click.option("--why", default="", help="A reason for the history.")
@click.option("--anyway", metavar="REASON", help="Release what the gate did not grant; status and history show REASON.")
@click.option("--json", is_flag=True, help="status: print JSON.")
def release(model: str, what: str | None, versions: tuple[str, ...], **given: Any) -> None:
    """Decide which versions of MODEL get its traffic. No request is dropped.

    \b
    release MODEL VERSION         all of it, at once; the version before is kept warm. Also MODEL@VERSION
    release MODEL blue-green V    the same
    release MODEL canary V        a --share, which grows by itself to all of it while no guardrail breaks;
                                  with --steps none it stays at --share
    release MODEL shadow V        V gets copies; its answers are compared and thrown away
    release MODEL ab V1 V2        both, until a sequential test on labels says which is better
    release MODEL promote         the second version gets all of it
    release MODEL rollback        end the trial of a second version, or go back to the previous one
    release MODEL status          shares, calls, errors and latencies by role, and how far the guard is

    This moves traffic. A version that the gate did not grant needs --anyway, except as a shadow. `visionloop promote`
    asks the gate to make a version the registry's champion.
    """
    model, action, versions = parse(model, what, versions, ACTIONS)
    options = ReleaseOptions(model, versions, **given)
    ACTIONS[action](options)
    if action != "status":
        _note(options, "release" if action == "blue-green" else action)


@click.command()
@model_argument
@click.option("--why", default="", help="A reason for the history.")
def rollback(model: str, why: str) -> None:
    """End the trial of MODEL's second version, or give the traffic back to the previous version."""
    options = ReleaseOptions(model, why=why)
    _rollback(options)
    _note(options, "rollback")


def _prepare() -> None:
    prepare(local=False)
    configuration.setup()  # also the tables of people: the change leaves a line in the audit trail


def _note(options: ReleaseOptions, action: str) -> None:
    """In the words of the back office's lines."""
    which = f"{options.model}@{options.versions[-1]}" if options.versions else options.model
    more = {"share": options.share} if options.share is not None else {}
    trail.note(
        f"release.{action}", which, options.why, **more, **({"anyway": options.anyway} if options.anyway else {})
    )


def _blue_green(options: ReleaseOptions) -> None:
    options.refuse(1, "anyway")
    _prepare()
    from flows.releases import changes

    changes.switch(options.model, options.versions[0], click.echo, why=options.why, anyway=options.anyway or "")


def _canary(options: ReleaseOptions) -> None:
    options.refuse(1, "share", "sticky", "steps", "limit", "anyway")
    steps = {} if options.steps is None else {"steps": shares_of(options.steps)}
    _start_trial(options, "canary", share=options.share, sticky=options.sticky, **steps)


def _shadow(options: ReleaseOptions) -> None:
    options.refuse(1, "limit")
    _start_trial(options, "shadow")


def _ab(options: ReleaseOptions) -> None:
    options.refuse(2, "share", "sticky", "limit", "anyway")
    _start_trial(options, "ab", share=options.share, sticky=options.sticky)


def _start_trial(options: ReleaseOptions, kind: Kind, **more: Any) -> None:
    from serving.releases.plans import Limits, trial

    limits = Limits.of(dict(limit_of(one) for one in options.limits))
    # Refuses a bad share before anything is started; the versions are not known yet.
    plan = trial(options.model, kind, limits=limits, **{name: one for name, one in more.items() if one is not None})
    _prepare()
    from flows.releases import changes

    changes.start_trial(plan, options.versions, click.echo, why=options.why, anyway=options.anyway or "")


def _promote(options: ReleaseOptions) -> None:
    options.refuse(0, "anyway")
    _prepare()
    from flows.releases import changes

    changes.promote(options.model, click.echo, why=options.why, anyway=options.anyway or "")


def _rollback(options: ReleaseOptions) -> None:
    options.refuse(0)
    _prepare()
    from flows.releases import changes

    changes.roll_back(options.model, click.echo, why=options.why)


def _status(options: ReleaseOptions) -> None:
    options.refuse(0, "json")
    from flows.cli import release_status

    release_status.show(options.model, as_json=options.json)


ACTIONS: Mapping[str, Callable[[ReleaseOptions], None]] = {
    "blue-green": _blue_green,
    "canary": _canary,
    "shadow": _shadow,
    "ab": _ab,
    "promote": _promote,
    "rollback": _rollback,
    "status": _status,
}
