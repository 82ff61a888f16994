"""What a key may hold: its actions, its models, its name, its expiry."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from registry.contract import catalog
from registry.core.errors import BadInput

ALL = "*"
ACTIONS = {
    "predict": "ask models: predict, render, explain, embed; tasks, and the key's own results",
    "read": "look at the key's own predictions, one by one and as a list",
    "feedback": "give labels for the key's own predictions, and delete them",
    "admin": "see every caller's predictions, tasks and usage, and the services' metrics",
}


def check_key(
    name: str, owner: str, actions: Collection[str], models: Collection[str], expires: datetime | None
) -> None:
    """Raises BadInput, NotFound: as `serving.access.keys.create`."""
    unknown = sorted(set(actions) - ACTIONS.keys())
    if unknown or not actions:
        raise BadInput(
            f"the actions are {', '.join(unknown) or 'none'}",
            expected=f"some of {', '.join(ACTIONS)}",
            fix="name the actions that the key is for",
        )
    if not models:
        raise BadInput(
            "the key is for no model", expected="names of models, or * for all", fix="e.g. --model fruit_features"
        )
    for model in models:
        if model != ALL:
            catalog.get(model)
    if not 0 < len(name.strip()) <= 64 or len(owner) > 128 or not f"{name}{owner}".isprintable():
        raise BadInput(
            f"the name is {name[:80]!r}, the owner {owner[:140]!r}",
            expected="a name of 1 to 64 characters, an owner of at most 128",
            fix="write in a few words what the key is for",
        )
    if expires is not None and expires <= datetime.now(UTC):
        raise BadInput(
            f"the key expires at {expires:%Y-%m-%d %H:%M} UTC",
            expected="a time in the future",
            fix="e.g. --expires 90d",
        )
