"""The Python client, against a real router with a real service behind it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from registry.core import errors
from registry.core.errors import BadInput, Forbidden, MissingService, NotFound, OverQuota, Unauthorized, VisionloopError
from serving.access import keys
from serving.client.clients import AsyncClient, Client
from tests.bundles import AFFINE, MODEL, make_scan
from tests.serving.access.conftest import known
from tests.serving.conftest import PROJECT


@pytest.fixture(scope="module")
def token(guarded: str) -> str:
    return known(guarded, keys.create("python")[1])


@pytest.fixture
def client(live: str, token: str) -> Iterator[Client]:
    with Client(live, token) as opened:
        yield opened


def _mask() -> bytes:
    return bytes(nib.Nifti1Image(np.ones((64, 48, 2), dtype=np.uint8), AFFINE).to_bytes())


def test_a_prediction_from_the_file_to_its_feedback(client: Client, token: str, tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(make_scan(1))
    found = client.predict(MODEL, scan)
    assert (found.model, found.version) == (MODEL, 1)
    assert found.findings["shape"] == [64, 48, 2]
    assert not {"id", "elapsed_ms"} & found.findings.keys()
    logged = client.prediction(found.id)
    assert (logged.outcome, logged.role, logged.feedback) == ("ok", found.role, None)
    assert abs(logged.time - datetime.now(UTC)) < timedelta(minutes=5)
    assert not client.feedback(found.id, _mask()).replaced
    given = client.prediction(found.id).feedback
    assert given is not None
    assert given.source == token.rsplit("_", 1)[0]
    used = client.usage()
    assert sum(row.requests for row in used.rows if row.model == MODEL) >= 1
    assert used.quota is not None
    assert used.quota.per_month is None


def test_pictures_heat_maps_and_extras(client: Client) -> None:
    body = make_scan(2)
    assert client.render(MODEL, body, "image/jpeg").content.startswith(b"\xff\xd8")
    heat = client.explain(MODEL, body)
    assert (heat.media, heat.version, heat.content[:2]) == ("image/jpeg", 1, b"\xff\xd8")
    both = client.predict(MODEL, body, explain=True, image=True)
    assert both.image is not None
    assert both.explanation is not None
    assert both.explanation.image is not None


def test_the_models_are_listed(client: Client) -> None:
    (one,) = [entry for entry in client.models() if entry.name == MODEL]
    assert one.version == 1
    assert "image/jpeg" in one.media_out


def test_async_calls_run_at_once(live: str, token: str) -> None:
    async def several() -> list[str]:
        async with AsyncClient(live, token) as client:
            found = await asyncio.gather(*(client.predict(MODEL, make_scan(n)) for n in range(4)))
            assert (await client.prediction(found[0].id)).model == MODEL
            assert (await client.render(MODEL, make_scan(1), "image/jpeg")).media == "image/jpeg"
            assert (await client.feedback(found[1].id, _mask())).prediction == found[1].id
            assert len(await client.models()) > 1
            assert (await client.usage()).rows
            return [one.id for one in found]

    assert len(set(asyncio.run(several()))) == 4


REFUSED: dict[str, tuple[Any, type[VisionloopError]]] = {
    "an unknown model": (lambda client: client.predict("skin_segmentaton", b"x"), NotFound),
    "a path for a model": (lambda client: client.predict("../../x", b"x"), BadInput),
    "a file that is none": (lambda client: client.predict(MODEL, b"x"), errors.UnsupportedMedia),
    "an unknown prediction": (lambda client: client.prediction("0" * 32), NotFound),
    "a path for an id": (lambda client: client.feedback("../usage", "x"), BadInput),
    "no embedding": (lambda client: client.embed(MODEL, make_scan(1)), NotFound),
    "a label that is none": (lambda client: client.feedback("0" * 32, ""), BadInput),
    "days the wrong way round": (
        lambda client: client.usage(datetime(2026, 2, 2).date(), datetime(2026, 2, 1).date()),
        BadInput,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_raised_with_what_to_do(client: Client, name: str) -> None:
    call, kind = REFUSED[name]
    with pytest.raises(kind) as caught:
        call(client)
    assert caught.value.found


def test_keys_that_do_not_open_are_errors_of_their_own(live: str) -> None:
    with Client(live) as nobody, pytest.raises(Unauthorized, match="no key"):
        nobody.predict(MODEL, make_scan(1))
    reader = known(live, keys.create("reads", actions=["read"])[1])
    with Client(live, reader) as client, pytest.raises(Forbidden):
        client.predict(MODEL, make_scan(1))


def test_a_quota_that_is_used_up_for_long_is_not_waited_for(live: str) -> None:
    token = known(live, keys.create("monthly", per_month=5)[1])
    with Client(live, token) as client:
        while (quota := client.usage().quota) is None or quota.used_this_month != 5:
            pass
        with pytest.raises(OverQuota, match="month") as caught:
            client.usage()
    assert caught.value.status == 429
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 30


def test_nothing_there_is_a_missing_service() -> None:
    with Client("http://127.0.0.1:9", timeout_s=2) as client, pytest.raises(MissingService, match="does not answer"):
        client.models()


@pytest.mark.parametrize(("patience_s", "tries"), [(10.0, 3), (0.5, 1)])
def test_answers_that_say_when_to_come_back_are_tried_again(patience_s: float, tries: int) -> None:
    seen: list[int] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(1)
            done = len(seen) == 3
            body = b'{"models": []}' if done else b'{"error": "Overloaded", "found": "busy"}'
            self.send_response(200 if done else 429)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Client(f"http://127.0.0.1:{server.server_port}", patience_s=patience_s) as client:
        if tries == 3:
            assert client.models() == []
        else:
            with pytest.raises(errors.Overloaded, match="busy") as caught:
                client.models()
            assert caught.value.retry_after_s == 1
    server.shutdown()
    server.server_close()
    assert len(seen) == tries


def test_a_task_is_not_submitted_again_after_an_answer_that_may_follow_on_taking_it() -> None:
    seen: list[str] = []

    class Died(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.path)
            body = b'{"error": "MissingService", "found": "it died while it worked on this request"}'
            self.send_response(503)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Died)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with Client(address, patience_s=10) as client, pytest.raises(MissingService, match="it died"):
        client.submit(MODEL, make_scan(1))
    server.shutdown()
    server.server_close()
    assert seen == [f"/v1/models/{MODEL}/tasks"]


def test_it_needs_httpx_and_pydantic_and_nothing_heavy() -> None:
    script = "import sys; from serving.client import Client; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT, check=True)
    loaded = set(done.stdout.split())
    assert {"httpx", "pydantic"} <= loaded
    assert not loaded & {"numpy", "django", "starlette", "aiohttp", "bentoml", "torch"}
