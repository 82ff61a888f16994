"""predict: a file through the service, or through the champion in this process."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from flows.options import OutputFile, model_argument, prepare
from flows.router_client import JSON, Answer, ask
from registry.contract import catalog
from registry.core.errors import BadInput
from registry.core.progress_bar import progress_bar
from registry.vision.media_types import is_video

ENDINGS = {
    ".json": JSON,
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webm": "video/webm",
    ".nii": "application/x-nifti",
    ".gz": "application/x-nifti",
    ".npy": "application/x-npy",
}


@click.command()
@model_argument
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=OutputFile(), help="Write the answer there; its ending chooses the format.")
@click.option("--explain", type=OutputFile(), help="Write a heat map (.jpg) there: where the answer comes from.")
@click.option("--local", is_flag=True, help="Run the champion's bundle in this process instead of asking the service.")
def predict(model: str, file: Path, out: Path | None, explain: Path | None, local: bool) -> None:
    """Run FILE through MODEL and print the JSON answer, or write a mask or a picture with --out.

    A video is always worked on in this process, however long it takes; --out OUT.webm writes OUT.json beside it.
    """
    spec = catalog.get(model)
    if not file.is_file():
        raise BadInput(
            f"there is no file {file}", expected=f"a file ending in {' or '.join(spec.extensions)}", fix="correct it"
        )
    media = _media(spec.media_out, out)
    if explain and explain.suffix.lower() not in (".jpg", ".jpeg"):
        raise BadInput(f"{explain} is not the name of a JPEG", expected="an ending of .jpg or .jpeg", fix="correct it")
    body = file.read_bytes()
    video = is_video(body)
    if video and explain:
        raise BadInput("a heat map was asked for a video", expected="one picture", fix="cut a frame out of the video")
    raw, heat, facts = (_predict_here if local or video else ask)(model, body, media, explain is not None)
    if not out:
        click.echo(json.dumps(json.loads(raw), indent=2))
    beside = out.with_suffix(".json") if video and out and media != JSON else None
    _write(out is not None, (out, raw), (explain, heat), (beside, facts))


def _write(named: bool, *files: tuple[Path | None, bytes]) -> None:
    """Writes the files that have a path, and prints the paths: to stderr where stdout has the answer (not `named`)."""
    from registry.core.files import write_file

    for path, content in files:
        if path:
            click.echo(str(write_file(path, content)), err=not named)


def _media(offers: tuple[str, ...], out: Path | None) -> str:
    media = ENDINGS.get(out.suffix.lower()) if out else JSON
    if media not in offers:
        known = ", ".join(ending for ending, kind in ENDINGS.items() if kind in offers)
        raise BadInput(f"{out} has an ending that says nothing", expected=known, fix="choose one of these endings")
    return media


def _predict_here(model: str, body: bytes, media: str, explain: bool) -> Answer:
    """The answer of the champion. A video's frames are counted in a progress bar."""
    prepare(local=True)
    from flows.champions import load_predictor

    predictor, began = load_predictor(model), time.monotonic()
    with progress_bar("frames", lines=is_video(body)) as show:
        found = predictor(
            body, media, lambda done, all_: show(done, all_, f"{done / (time.monotonic() - began):.1f} per second")
        )
    facts, heat = json.dumps(found.result.to_json(), indent=2).encode(), b""
    if explain:
        from registry.versions.explain import explain as occlusion

        heat = occlusion(predictor, body, found).picture
    raw = facts if media == JSON else predictor.spec.render.FORMATS[media](found.sample, found.result)
    return raw, heat, facts
