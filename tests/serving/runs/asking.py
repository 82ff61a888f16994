"""Uploads as the pages make them, over HTTP."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx

from tests.waiting import until


def begin(client: httpx.Client, model: str, name: str, content: bytes, **more: Any) -> httpx.Response:
    asked = {"model": model, "name": name, "size": len(content), "start": b64encode(content[:65536]).decode()}
    return client.post("/uploads", json={**asked, "consent": True, **more})


def send(client: httpx.Client, identity: str, content: bytes, offset: int = 0) -> httpx.Response:
    return client.put(f"/uploads/{identity}", content=content[offset:], headers={"Upload-Offset": str(offset)})


def upload(client: httpx.Client, model: str, name: str, content: bytes) -> str:
    """The id of a run whose upload is complete."""
    begun = begin(client, model, name, content)
    assert begun.status_code == 201, begun.text
    sent = send(client, begun.json()["id"], content)
    assert sent.status_code == 200, sent.text
    return str(begun.json()["id"])


def over(client: httpx.Client, identity: str, within_s: float = 90) -> dict[str, Any]:
    """The run, once it has ended."""

    def look() -> dict[str, Any] | None:
        found = client.get(f"/uploads/{identity}").json()
        return found if found["state"] in ("done", "failed", "cancelled") else None

    return until(look, within_s)  # type: ignore[no-any-return]
