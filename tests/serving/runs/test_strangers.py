"""Nobody reaches another person's run, by any address of the web application."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from registry.vision.picture import to_jpeg
from tests.clips import scene
from tests.serving import people
from tests.serving.runs.asking import over, upload

PICTURE = to_jpeg(scene(5, 160, 120))
OF_A_RUN = re.compile(r"<(?:\w+:)?(run_id|run|other_id)>|^/uploads/<(?:\w+:)?id>$")
OTHERS = {
    "<name>": ("input", "answer.json", "annotated.jpg", "thumbnail.jpg", "all.zip"),
    "<action>": ("cancel", "retry", "again", "heatmap", "share", "delete"),
}


@pytest.fixture(scope="module")
def addresses(web: str) -> list[str]:
    """Those that name a run."""
    return [path for path in people.routes() if OF_A_RUN.search(path)]


@pytest.fixture(params=["stranger", "other", "viewer", "operator"])
def somebody(web: str, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Not the owner."""
    role = request.param if request.param in ("viewer", "operator") else ""
    if request.param == "stranger":
        client = httpx.Client(base_url=web, timeout=60, trust_env=False)
        client.get("/")
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
    else:
        client = people.make(f"{role}:{request.param}@example.org")[0].client(web)
    with closing(client):
        yield client


def filled(path: str, identity: str) -> list[str]:
    """The address with the run's id, and with each value that another parameter may have."""
    for name, values in OTHERS.items():
        if name in path:
            return [one for value in values for one in filled(path.replace(name, value), identity)]
    return [re.sub(r"<[^>]*>", identity, path)]


def test_nobody_reaches_anothers_run(
    anna: httpx.Client, somebody: httpx.Client, detector: str, addresses: list[str]
) -> None:
    identity = upload(anna, detector, "private.jpg", PICTURE)
    assert over(anna, identity)["state"] == "done"
    assert len(addresses) >= 5, addresses
    for path in addresses:
        for address in filled(path, identity):
            for method in ("GET", "POST", "PUT", "DELETE"):
                answer = somebody.request(method, address)
                refused = answer.status_code in (401, 403, 404, 405)
                asked_to_log_in = answer.status_code == 302 and "/accounts/login/" in answer.headers["location"]
                assert refused or asked_to_log_in, (method, address, answer.status_code)
                assert PICTURE[:100] not in answer.content
    assert anna.get(f"/files/{identity}/input").content == PICTURE
    assert anna.get(f"/uploads/{identity}").json()["state"] == "done"
