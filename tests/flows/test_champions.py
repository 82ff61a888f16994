"""Which version is the registry's champion, asked over HTTP, and that `models` says where another has the traffic."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flows import champions
from flows.cli import execute
from flows.process import ProcessStatus
from flows.stack.control import Stack
from registry.core.settings import Settings, settings
from tests.bundles import MODEL

OTHER = "weapon_detection"
FIELDS = {"title": "", "task": "", "media_in": [], "media_out": []}
ANSWERS: dict[str, Any] = {
    "/api/2.0/mlflow/registered-models/search": {
        "registered_models": [
            {"name": MODEL, "aliases": [{"alias": "previous", "version": "2"}, {"alias": "champion", "version": "1"}]},
            {"name": OTHER, "aliases": [{"alias": "champion", "version": "3"}]},
            {"name": "face_gender"},
        ]
    },
    "/v1/models": {"models": [{"name": MODEL, "version": 2, **FIELDS}, {"name": OTHER, "version": 3, **FIELDS}]},
}


class Both(BaseHTTPRequestHandler):
    """MLflow and the router."""

    def do_GET(self) -> None:
        body = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def answering(config: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Both) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("VISIONLOOP_MLFLOW_URI", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("VISIONLOOP_ROUTER_PORT", str(server.server_port))
        settings.cache_clear()
        monkeypatch.setattr(Stack, "status", lambda self: [ProcessStatus("router", "ready")])
        yield
        server.shutdown()
    settings.cache_clear()


def test_the_champions_are_asked_over_http(answering: None) -> None:
    assert champions.champions() == {MODEL: 1, OTHER: 3}


def test_without_a_registry_nothing_is_said(config: Settings) -> None:
    assert champions.champions() is None


def test_models_says_where_traffic_and_registry_differ(answering: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["models"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines[MODEL].endswith("version 2 is live, version 1 is the registry's champion")
    assert lines[OTHER].endswith("version 3 is live")
