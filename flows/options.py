"""What several commands share: the model argument, `--local`, and setting up this process for the loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from registry.contract import catalog
from registry.core.errors import BadInput, MissingService, UsageError
from registry.core.settings import settings

Command = TypeVar("Command", bound=Callable[..., Any])


def complete(names: Callable[[], Mapping[str, str]]) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    """A `shell_complete` for names, each with a line about it. `names` may raise, as where the database is away."""

    def offer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        with suppress(Exception):  # completion cannot show a message
            return [CompletionItem(name, help=line) for name, line in names().items() if name.startswith(incomplete)]
        return []

    return offer


class ModelName(click.ParamType):
    """A model of the catalog. The shell completes its name."""

    name = "model"
    _offer = staticmethod(complete(lambda: dict.fromkeys(catalog.names(), "")))

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name, at, version = value.partition("@")
        if at:
            raise UsageError(
                f"{value} names a version", expected="a model: this works on all of it", fix=f"leave out @{version}"
            )
        return catalog.get(name).name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        return self._offer(ctx, param, incomplete)


class ModelVersion(ModelName):
    """A model, or a version as our messages write it: `MODEL@VERSION`."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        model, at, version = value.partition("@")
        return super().convert(model, param, ctx) + at + version


model_argument = click.argument("model", type=ModelName())
model_version_argument = click.argument("model", type=ModelVersion(), metavar="MODEL[@VERSION]")
local_option = click.option(
    "--local", is_flag=True, help="Without servers: no Prefect, no release, MLflow's database as a file."
)


severity_option = click.option("--severity", default=0.8, show_default=True, type=click.FloatRange(0, 1, min_open=True))


class OutputFile(click.Path):
    """A file that a command writes at its end, checked at its beginning: a video may take hours."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        folder = next(one for one in path.absolute().parents if os.path.lexists(one))
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"{str(path)!r} cannot be written: {folder} is not a folder that you may write to", param, ctx)
        return path


def shift_of(model: str, how: str | None) -> str:
    """The shift of the model with that name. None: its first. Raises BadInput."""
    kinds = catalog.get(model).shift.HOW
    if how is not None and how not in kinds:
        raise BadInput(
            f"{model} has no shift {how!r}",
            expected=f"one of {', '.join(kinds)}",
            fix=f"choose one of these with --how; `visionloop break {model} --how list` says what each does",
        )
    return how or next(iter(kinds))


def which(model: str, version: str | None, default: str) -> tuple[str, str]:
    """The model and its version: a number or an alias, after an @ or as an argument. Raises UsageError."""
    model, at, named = model.partition("@")
    if at and (version or not named):
        raise UsageError(
            f"{model}@{named} and another version {version}" if version else f"{model}@ names no version",
            expected="MODEL, MODEL@VERSION or MODEL VERSION",
            fix="name one version, a number or an alias",
        )
    return model, named or version or default


def prepare(local: bool, *, needs_stack: bool = True) -> None:
    """Sets the environment variables that the frameworks read. Call it before any is imported.

    Raises:
        MissingService: the stack is needed, and it is not up.
    """
    if local:
        store = settings().mlflow_store
        (settings().var / "mlflow").mkdir(parents=True, exist_ok=True)
        os.environ["VISIONLOOP_MLFLOW_URI"] = store
        settings.cache_clear()
    elif needs_stack:
        from flows.stack.control import Stack

        if not Stack().running():
            raise MissingService(
                "the stack is not up",
                expected="MLflow, Prefect and the router",
                fix="`visionloop up` starts it; or add --local to work without servers",
            )
    settings().apply_environment()
