"""Examples for the documents of a service: the same call with curl and in Python, with nothing but what both bring."""

from __future__ import annotations

from collections.abc import Sequence

from registry.contract.spec import ModelSpec
from registry.core.settings import settings
from serving.wire.negotiation import JSON
from serving.wire.uploads import FIELD

_ANSWERS = {"image/jpeg": "answer.jpg", "video/webm": "answer.webm", "application/x-nifti": "answer.nii.gz"}


def of(spec: ModelSpec, operation: str, offers: Sequence[str]) -> str:
    """Markdown. The address is the router's; a service by itself answers at `/{operation}`."""
    address = f"{settings().router_address}/v1/models/{spec.name}/{operation}"
    file, media = f"input{spec.extensions[0]}", spec.media_in[0]
    answer = offers[0]
    calls = [f"curl --data-binary @{file} -H 'Content-Type: {media}' {address}"]
    if answer == JSON:
        calls.append(f"curl -F {FIELD}=@one{spec.extensions[0]} -F {FIELD}=@two{spec.extensions[0]} {address}")
    else:
        calls = [f"{calls[0]} -o {_ANSWERS[answer]}"]
    return "\n".join(["```sh", *calls, "```", "", "```python", *_python(address, file, media, answer), "```"])


def _python(address: str, file: str, media: str, answer: str) -> list[str]:
    lines = ["from pathlib import Path", "from urllib.request import Request, urlopen", ""]
    if answer == JSON:
        lines.insert(0, "import json")
    lines += [
        f'body = Path("{file}").read_bytes()',
        f'request = Request("{address}", data=body, headers={{"Content-Type": "{media}"}})',
        "with urlopen(request) as answer:",
    ]
    if answer == JSON:
        return [*lines, "    print(json.load(answer))"]
    return [*lines, f'    Path("{_ANSWERS[answer]}").write_bytes(answer.read())']
