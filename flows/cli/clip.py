"""`visionloop predict` of a video: in this process, with a progress bar, without a limit of time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import prepare
from registry.core.errors import BadInput
from registry.core.settings import settings
from registry.vision.media_types import is_video

if TYPE_CHECKING:
    from registry.core.media import Prediction
    from registry.versions.predictor import Predictor


def is_clip(file: Path) -> bool:
    """Whether the file is a video."""
    return is_video(file.read_bytes())


def predict(model: str, file: Path, out: Path | None, media: str, explain: bool) -> None:
    """Writes the answer to `out` and, beside a video or a picture, the JSON answer; prints it where there is no `out`.

    Raises:
        BadInput: the model takes no videos, the video cannot be played, or a heat map was asked for.
    """
    if explain:
        raise BadInput("a heat map explains one picture", expected="a picture", fix="cut a frame out of the video")
    prepare(local=True)
    from registry.core.files import write_file
    from registry.versions.mlflow_registry import Versions
    from registry.versions.predictor import Predictor

    versions = Versions()
    predictor = Predictor.load(versions.fetch(versions.get(model)).path, settings().threads, settings().max_voxels)
    found = run(predictor, file.read_bytes(), media)
    answer = json.dumps(found.result.to_json(), indent=2)
    if out is None:
        click.echo(answer)
        return
    written = {out.with_suffix(".json"): answer.encode()}
    if media != "application/json":
        written[out] = predictor.spec.render.FORMATS[media](found.sample, found.result)
    for path, content in sorted(written.items(), key=lambda one: one[0] != out):
        write_file(path, content)
        click.echo(str(path))


def run(predictor: Predictor, body: bytes, media: str) -> Prediction:
    """The prediction, with a bar on the terminal that counts frames and says how many go through in a second."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("frames"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("frames", total=None, pace="")

        def told(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, pace=f"{speed:.1f} per second" if speed else "")

        return predictor(body, media, told)
