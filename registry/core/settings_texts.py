"""The file of settings, and what is wrong with a setting, in words."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from registry.core.errors import SettingsError

PREFIX = "VISIONLOOP_"
FILE = "visionloop.toml"


def values_of_file(path: Path) -> dict[str, Any]:
    """The settings in a file; none where there is no file. Raises SettingsError for what is not TOML."""
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path.name} is not TOML: {error}", expected="lines like `router_port = 3000`", fix="correct that line"
        ) from error


def settings_error(error: ValidationError, known: Collection[str]) -> SettingsError:
    """The first of pydantic's errors in our words. `known`: the names of all settings."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, known, n=1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        return SettingsError(
            f"there is no setting {name!r}",
            expected=", ".join(known),
            fix=f"{guess}correct it in {FILE} or in the environment ({PREFIX}{name.upper()})",
        )
    return SettingsError(
        f"setting {name!r} is {first.get('input')!r}",
        expected=first["msg"],
        fix=f"correct it in {FILE} or in the environment ({PREFIX}{name.upper()})",
    )
