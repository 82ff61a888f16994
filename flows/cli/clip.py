"""`visionloop predict` for a video: in this process, with a progress bar and without a time limit."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.options import prepare
from registry.core.errors import BadInput
from registry.core.progress_bar import progress_bar
from registry.core.settings import settings
from registry.vision.media_types import is_video

if TYPE_CHECKING:
    from registry.core.media import Prediction
    from registry.versions.predictor import Predictor


def is_clip(file: Path) -> bool:
    """Whether the file is a video."""
    return is_video(file.read_bytes())


def predict(model: str, file: Path, out: Path | None, media: str, explain: bool) -> None:
    """Writes the answer to `out`, and the JSON answer beside it. Without `out` it prints the JSON.

    Raises:
        BadInput: the model takes no videos, the video cannot be played, or a heat map was asked for.
    """
    if explain:
        raise BadInput("a heat map was asked for a video", expected="one picture", fix="cut a frame out of the video")
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
    """The prediction of a whole video. A progress bar counts frames and says how many are done in a second."""
    began = time.monotonic()
    with progress_bar("frames", lines=True) as show:

        def on_progress(done: int, total: int) -> None:
            show(done, total, f"{done / max(time.monotonic() - began, 1e-9):.1f} per second")

        return predictor(body, media, on_progress)
