"""train, promote, decisions, package, predict."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli import clip
from flows.cli.options import OutputFile, local_option, model_argument, model_version_argument, prepare, which
from flows.stack.control import Stack
from flows.terminal_progress import show_progress
from registry.contract import catalog
from registry.core.errors import BadInput, MissingService, NotFound
from registry.core.settings import settings

if TYPE_CHECKING:
    from registry.versions.mlflow_registry import Version


def _version(model: str, which: str) -> Version:
    from registry.versions.mlflow_registry import Versions

    return Versions().get(model, which)


@click.command()
@model_argument
@local_option
def train(model: str, local: bool) -> None:
    """Train, compress and evaluate MODEL and register the version; decides and releases nothing."""
    prepare(local)
    from flows import steps

    with show_progress() as console, steps.exclusive(model):
        steps.prepare_data(model)
        steps.ensure_start(model)
        version = steps.register(model, steps.build(model, lambda line: None))
    console.print(f"{version}: `visionloop promote {model} {version.number}` asks the gate")


@click.command()
@model_version_argument
@click.argument("version", required=False)
@click.option("--why", default="asked by hand", help="Stands on the decision page.")
@local_option
def promote(model: str, version: str | None, why: str, local: bool) -> None:
    """Ask the gate to make a VERSION (a number or an alias; else the challenger) of MODEL the registry's champion.

    Moves no traffic: `visionloop release MODEL VERSION` does, and `visionloop release MODEL promote` ends a canary.
    Exit code 7: refused.
    """
    model, version = which(model, version, "challenger")
    prepare(local)
    from flows import steps
    from registry.core.errors import Refused

    with show_progress() as console:
        found = _version(model, version)
        granted = steps.decide(found, "the command line", why, again=True)
        summary = (steps.latest_decision(found) or {}).get("summary", f"{found} is champion already")
    if not granted:
        raise Refused(str(summary), fix=f"`visionloop decisions {model}` shows the page")
    console.print(summary)


@click.command()
@model_version_argument
@click.argument("version", required=False)
@click.option("--json", "as_json", is_flag=True, help="The latest one, whole, as JSON.")
def decisions(model: str, version: str | None, as_json: bool) -> None:
    """The decision pages of MODEL, or of one VERSION of it (a number), the latest first."""
    model, version = which(model, version, "")
    if version and not version.isdigit():
        raise BadInput(f"the version is {version!r}", expected="a number", fix=f"`visionloop decisions {model}`")
    from flows.steps import pages

    found = [one for one in pages.decisions(model) if not version or str(one[0]["challenger"]) == version]
    if not found:
        raise NotFound(
            f"no decision about {model}{' version ' * bool(version)}{version} yet",
            fix=f"`visionloop promote {model} {version}` asks the gate"
            if version
            else f"`visionloop run {model}` leads to one",
        )
    if as_json:
        click.echo(json.dumps(found[0][0], indent=2))
        return
    base = settings().home_address if Stack().running() else ""
    for decision, path in found:
        page = path.with_suffix(".html")
        where = f"{base}/{page.relative_to(settings().var)}" if base else str(page)
        click.echo(f"{decision['created']}  {decision['summary']}\n    {where}")


@click.command()
@model_version_argument
@click.argument("version", required=False)
def package(model: str, version: str | None) -> None:
    """Build the Bento of a VERSION (a number or an alias; else the champion) of MODEL; prints its tag."""
    model, version = which(model, version, "champion")
    prepare(local=False)
    from flows import steps

    tag = steps.package(_version(model, version))
    click.echo(tag)
    click.echo(f"by hand: BENTOML_HOME={settings().var / 'bentoml'} bentoml serve {tag}", err=True)


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
    if clip.is_clip(file):
        clip.predict(model, file, out, media, explain is not None)
        return
    raw, heat = (_predict_here if local else _ask)(model, file, media, explain is not None)
    if out or explain:
        from registry.core.files import write_file

        for path, content in ((out, raw), (explain, heat)):
            if path:
                write_file(path, content)
                click.echo(str(path), err=out is None)
    if not out:
        click.echo(json.dumps(json.loads(raw), indent=2))


def _media(offers: tuple[str, ...], out: Path | None) -> str:
    endings = {".json": "application/json", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webm": "video/webm"}
    endings |= {".nii": "application/x-nifti", ".gz": "application/x-nifti", ".npy": "application/x-npy"}
    media = endings.get(out.suffix.lower()) if out else "application/json"
    if media not in offers:
        known = ", ".join(ending for ending, kind in endings.items() if kind in offers)
        raise BadInput(f"{out} has an ending that says nothing", expected=known, fix="choose one of these endings")
    return media


def _ask(model: str, file: Path, media: str, explain: bool) -> tuple[bytes, bytes]:
    """The answer of the service, and the heat map if one was asked for."""
    if not explain:
        return _post(model, file, media, {}), b""
    if media != "application/json":
        return _post(model, file, media, {}), _post(model, file, "image/jpeg", {"explain": "true"})
    found = json.loads(_post(model, file, media, {"explain": "true"}))
    explanation = found["explanation"]
    if explanation["image"] is None:
        raise BadInput(explanation["why_not"], fix="leave --explain out to see the answer alone")
    heat = base64.b64decode(explanation.pop("image"))
    return json.dumps(found).encode(), heat


def _post(model: str, file: Path, media: str, query: dict[str, str]) -> bytes:
    import httpx

    from registry.core.errors import error_from_json

    address = f"{settings().router_address}/v1/models/{model}/predict"
    headers = {"Accept": media, "Content-Type": "application/octet-stream", **settings().key_headers}
    try:
        answer = httpx.post(
            address,
            params=query,
            content=file.read_bytes(),
            headers=headers,
            timeout=settings().request_timeout_s,
            trust_env=False,
        )
    except httpx.TransportError as error:
        raise MissingService(
            f"nothing answers at {address}", expected="the router", fix="`visionloop up`, or add --local"
        ) from error
    if answer.is_success:
        return answer.content
    try:
        said = answer.json()
    except ValueError:
        said = {"error": "VisionloopError", "found": f"the service answered {answer.status_code}"}
    if said.get("error") == "NotServed":  # what the caller is told to ask for, is to be done here
        said |= {"expected": "a released version", "fix": f"`visionloop run {model}` trains and releases one"}
    pause = answer.headers.get("Retry-After", "")
    raise error_from_json(said, answer.status_code, int(pause) if pause.isdigit() else None)


def _predict_here(model: str, file: Path, media: str, explain: bool) -> tuple[bytes, bytes]:
    """As `_ask`, in this process."""
    prepare(local=True)
    from registry.versions.mlflow_registry import Versions
    from registry.versions.predictor import Predictor

    versions = Versions()
    predictor = Predictor.load(versions.fetch(versions.get(model)).path, settings().threads, settings().max_voxels)
    body = file.read_bytes()
    found = predictor(body)
    heat = b""
    if explain:
        from registry.versions.explain import explain as occlusion

        heat = occlusion(predictor, body, found).picture
    if media == "application/json":
        return json.dumps(found.result.to_json()).encode(), heat
    return predictor.spec.render.FORMATS[media](found.sample, found.result), heat
