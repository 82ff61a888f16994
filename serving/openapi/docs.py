"""Documentation for people: the Swagger page, and examples with curl and in Python that need nothing else installed."""

from __future__ import annotations

import html
from collections.abc import Sequence

from registry.contract.spec import ModelSpec
from registry.core.settings import settings
from serving.wire.negotiation import JSON
from serving.wire.responses import ENDINGS
from serving.wire.uploads import FIELD


def swagger_page(title: str, document: str, assets: str, icon: str) -> str:
    """A page that shows an OpenAPI document and fetches nothing from elsewhere.

    BentoML's own index page would load Google's tag manager, so it is not used.

    Args:
        document: address of the document.
        assets: address of the folder with Swagger UI's files.
        icon: name of the icon in it.
    """
    title = html.escape(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{assets}/swagger-ui.css">
<link rel="icon" href="{assets}/{icon}">
</head>
<body>
<noscript>{title}: the API is described in <a href="{document}">openapi.json</a>.</noscript>
<div id="swagger-ui"></div>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({{url: "{document}", dom_id: "#swagger-ui", validatorUrl: null, tryItOutEnabled: true}});
</script>
</body>
</html>
"""


def examples(spec: ModelSpec, operation: str, offers: Sequence[str]) -> str:
    """A call of an operation in Markdown, at the router's address.

    Args:
        offers: media types of the answer; the example asks for the first.
    """
    address = f"{settings().public_address}/v1/models/{spec.name}/{operation}"
    ending, media = spec.extensions[0], spec.media_in[0]
    file = f"input{ending}"
    call = f"curl --data-binary @{file} -H 'Content-Type: {media}' {address}"
    python = [
        "from pathlib import Path",
        "from urllib.request import Request, urlopen",
        "",
        f'body = Path("{file}").read_bytes()',
        f'request = Request("{address}", data=body, headers={{"Content-Type": "{media}"}})',
        "with urlopen(request) as answer:",
    ]
    if offers[0] == JSON:
        calls = [call, f"curl -F {FIELD}=@one{ending} -F {FIELD}=@two{ending} {address}"]
        python = ["import json", *python, "    print(json.load(answer))"]
    else:
        answer = f"answer{ENDINGS.get(offers[0], ending)}"
        calls = [f"{call} -o {answer}"]
        python = [*python, f'    Path("{answer}").write_bytes(answer.read())']
    return "\n".join(["```sh", *calls, "```", "", "```python", *python, "```"])
