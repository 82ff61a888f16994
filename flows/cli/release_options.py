"""The options of `visionloop release`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flows.options import which
from registry.core.errors import BadInput, UsageError, did_you_mean

ALIASES = ("champion", "previous", "challenger")
"""Written out, because the registry's modules would load with `--help`."""


@dataclass(frozen=True)
class ReleaseOptions:
    """The options that were given; None or () for those that were not."""

    model: str
    versions: tuple[str, ...] = ()
    share: int | None = None
    sticky: str | None = None
    steps: str | None = None
    limits: tuple[str, ...] = ()
    why: str = ""
    anyway: str | None = None
    json: bool = False

    def refuse(self, count: int, *options: str) -> None:
        """Raises UsageError unless there are `count` versions and no option but those named."""
        given: dict[str, object] = {
            "share": self.share,
            "sticky": self.sticky,
            "steps": self.steps,
            "limit": self.limits or None,
        }
        given |= {"anyway": self.anyway, "json": self.json or None}
        if extra := [f"--{name}" for name, value in given.items() if value is not None and name not in options]:
            raise UsageError(
                f"{', '.join(extra)} means nothing here",
                expected=", ".join(f"--{name}" for name in options) or "no such option",
                fix="leave it out; `visionloop release --help` says what goes with what",
            )
        if len(self.versions) != count:
            raise UsageError(
                f"the versions are {', '.join(self.versions) or 'not named'}",
                expected=("none", "one", "two")[count],
                fix="a version is a number or an alias, e.g. 3 or challenger",
            )


def parse(
    model: str, what: str | None, versions: tuple[str, ...], actions: Collection[str]
) -> tuple[str, str, tuple[str, ...]]:
    """The model, the action and its versions, of which one behind an @ comes first.

    A version without an action gets all traffic. Raises UsageError.
    """
    name = (what or "").replace("_", "-")
    name = {"all": "blue-green", "a-b": "ab"}.get(name, name)
    if name in actions:
        model, version = which(model, None, "")
        return model, name, (version, *versions) if version else versions
    if what and not what.isdigit() and what not in ALIASES:
        raise UsageError(
            f"there is no action {what!r}",
            expected=f"{', '.join(actions)}, or a version: a number, {' or '.join(ALIASES)}",
            fix=did_you_mean(what.lower(), (*actions, *ALIASES), "`visionloop release --help` says what each does"),
        )
    model, version = which(model, what, "champion")
    return model, "blue-green", (version, *versions)


def shares_of(text: str) -> tuple[int, ...]:
    """The steps of a canary, percent. Raises BadInput."""
    if text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(
            f"the steps are {text!r}", expected="shares in percent, or none", fix="e.g. --steps 10,50,100"
        ) from error


def limit_of(text: str) -> tuple[str, str]:
    """Name and value of a guardrail's limit. Raises BadInput."""
    name, equals, value = text.partition("=")
    if not equals:
        raise BadInput(f"the limit is {text!r}", expected="NAME=VALUE", fix="e.g. --limit latency_ratio=2")
    return name, value
