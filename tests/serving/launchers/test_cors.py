"""Pages of other origins: those that the setting names may call the router, from a browser too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry.core.errors import SettingsError
from registry.core.settings import read_settings
from serving.access import keys
from tests.serving.access.conftest import known, start_router
from tests.serving.conftest import Processes

ORIGIN, PUBLIC = "https://app.example.com", "https://vision.example.com"


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    yield start_router(
        processes,
        "cors",
        require_keys="true",
        cors_origins=f"{ORIGIN}, http://localhost:5173/",
        public_url=f"{PUBLIC}/",
    )
    processes.stop("cors")


def _preflight(address: str, origin: str, headers: str = "x-api-key,content-type") -> httpx.Response:
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    return httpx.options(f"{address}/v1/models/fruit_features/predict", headers=asks)


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:5173"])
def test_a_named_origin_may_ask_and_read_the_headers(address: str, origin: str) -> None:
    may = _preflight(address, origin)
    assert (may.status_code, may.headers["access-control-allow-origin"]) == (200, origin)
    assert "POST" in may.headers["access-control-allow-methods"]
    token = known(address, keys.create("a page")[1])
    answer = httpx.get(f"{address}/v1/whoami", headers={"Origin": origin, "X-API-Key": token})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
    assert {"X-Prediction-Id", "X-Request-Id"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    refused = httpx.get(f"{address}/v1/whoami", headers={"Origin": origin})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin)


def test_another_origin_or_header_may_not(address: str, router: str) -> None:
    assert _preflight(address, "https://app.example.com.evil.net").status_code == 400
    assert _preflight(address, ORIGIN, "x-tasks-of").status_code == 400
    answer = httpx.get(f"{address}/v1/models", headers={"Origin": "https://evil.net"})
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-credentials" not in answer.headers
    without = httpx.get(f"{router}/v1/models", headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in without.headers


def test_documents_name_the_public_address(address: str) -> None:
    document = httpx.get(f"{address}/openapi.json")
    assert document.json()["servers"][0]["url"] == PUBLIC
    assert f"{PUBLIC}/v1/models/" in document.text
    assert "127.0.0.1" not in document.text


@pytest.mark.parametrize(
    "given",
    [{"PUBLIC_URL": "vision.example.com"}, {"PUBLIC_URL": "https://x/y"}, {"CORS_ORIGINS": "https://a.b, app"}],
)
def test_what_is_no_origin_is_a_wrong_setting(given: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="https://"):
        read_settings({f"VISIONLOOP_{name}": value for name, value in given.items()}, tmp_path)
