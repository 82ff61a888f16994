"""What an error says is about what is wrong: texts, classes and headers of answers, each as a caller meets it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from registry.contract import catalog
from registry.vision.picture import to_jpeg
from tests.clips import scene
from tests.detector_bundle import make_detector_bundle
from tests.serving.access.conftest import start_router
from tests.serving.conftest import Processes
from tests.serving.local_api import answering
from tests.serving.stubs import Stub, released, serving

MODEL = "fruit_features"
PICTURE = to_jpeg(scene(1, 160, 120))
UNKNOWN = "0" * 32


@pytest.fixture(scope="module")
def service(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    spec = catalog.get("object_detection")
    bundle = make_detector_bundle(tmp_path_factory.mktemp("messages") / "bundle", spec)
    with answering(spec, bundle.path) as (address, _), httpx.Client(base_url=address, timeout=30) as client:
        yield client


def _json(text: str) -> dict[str, Any]:
    return {"content": text, "headers": {"Content-Type": "application/json"}}


BODIES: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "text instead of a file": ({"data": {"file": "hello"}, "files": {"x": b""}}, 422, "'file' is a text", "@"),
    "an empty file in a form": ({"files": {"file": ("a.jpg", b"")}}, 422, "a file of the form is empty", "check"),
    "an empty body": ({"content": b""}, 422, "the body is empty", "as the body"),
    "an empty object": (_json("{}"), 422, "an empty object", "correct"),
    "a list": (_json("[]"), 422, "an empty list", "correct"),
    "another key": (_json('{"image": "aGVsbG8="}'), 422, "the key 'image'", "correct"),
    "another type": (_json('{"input": 5}'), 422, "'input' is a number", "correct"),
    "an address": (_json('{"url": "https://example.com/a.jpg"}'), 422, "does not fetch", "send the file as the body"),
    "line ends": (_json('{"input": "aGVs\\nbG8="}'), 422, "line ends", "-w0"),
    "no base64": (_json('{"input": "a_b"}'), 422, "not base64", "standard alphabet"),
    "packed JSON": (
        {"content": gzip.compress(b"{}"), "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"}},
        415,
        "Content-Encoding",
        "without the header",
    ),
    "a scan": (
        {"content": PICTURE, "headers": {"Content-Type": "application/x-nifti"}},
        415,
        "application/x-nifti",
        "send another file, or convert it; if it is one that is taken, say so",
    ),
    "what curl says by itself": (
        {"content": PICTURE, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        415,
        "x-www-form-urlencoded",
        "send the file as it is with `Content-Type: image/jpeg`",
    ),
    "a packed file": ({"content": PICTURE, "headers": {"Content-Encoding": "br"}}, 415, "br", "without the header"),
}


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("path", ["/predict", "/tasks"])
def test_an_upload_that_cannot_be_used(service: httpx.Client, path: str, what: str) -> None:
    options, status, found, fix = BODIES[what]
    answer = service.post(path, **options)
    assert answer.status_code == status, answer.text
    assert found in answer.json()["found"]
    assert fix in answer.json()["fix"]


def test_the_models_own_page_can_ask_for_a_key(service: httpx.Client) -> None:
    """Else nobody could try it behind a router that asks for one."""
    document = service.get("/openapi.json").json()
    validate(document)
    assert document["components"]["securitySchemes"].keys() == {"bearer", "header"}
    assert {} in document["security"], "asked directly, a service needs none"
    assert {"bearer": []} in document["security"]
    assert {"401", "403"} <= document["paths"]["/predict"]["post"]["responses"].keys()


def test_each_answer_to_one_of_several_files_has_its_name(service: httpx.Client) -> None:
    files = [("file", ("a.jpg", PICTURE)), ("file", ("ü/b.txt", b"a letter")), ("file", ("a.jpg", PICTURE))]
    results = service.post("/predict", files=files).json()["results"]
    assert [one["file"] for one in results] == ["a.jpg", "ü/b.txt", "a.jpg"]
    assert [one.get("status") for one in results] == [None, 422, None]
    assert "file" not in service.post("/predict", files=files[:1]).json()


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("exlain=true", 422, "did you mean 'explain'?"),
        ("version=2", 409, "leave ?version= out"),
        ("version=1", 200, ""),
        ("webhook=https://example.com", 422, "leave it out"),
        ("format=json&format=jpg", 422, "leave the others out"),
        ("format=jpeg", 200, ""),
        ("format=jpg", 200, ""),
        ("format=tiff", 422, "?format="),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/tasks"])
def test_a_query_holds_what_there_is(service: httpx.Client, path: str, query: str, status: int, says: str) -> None:
    answer = service.post(f"{path}?{query}", content=PICTURE)
    assert answer.status_code == (202 if status == 200 and path == "/tasks" else status)
    if says:
        assert says in answer.json()["fix"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/tasks/x", {"GET", "HEAD", "DELETE"}),
        ("POST", "/tasks/x", {"GET", "HEAD", "DELETE"}),
        ("PUT", "/tasks/x/result", {"GET", "HEAD"}),
        ("GET", "/predict", {"POST"}),
    ],
)
def test_a_method_that_a_path_does_not_take(service: httpx.Client, method: str, path: str, allowed: set[str]) -> None:
    answer = service.request(method, path)
    assert (answer.status_code, answer.json()["error"]) == (405, "MethodNotAllowed")
    assert set(answer.headers["allow"].split(", ")) == set(answer.json()["expected"].split(", ")) == allowed


@pytest.fixture(scope="module")
def router(project: Path, processes: Processes) -> Iterator[str]:
    address = start_router(processes, "messages")
    with serving(Stub()) as stub, released(address, MODEL, stub):
        yield address
    processes.stop("messages")


ROUTED: dict[str, tuple[str, str, int, str, str]] = {
    "another method": ("PUT", f"/v1/predictions/{UNKNOWN}/feedback", 405, "MethodNotAllowed", "POST"),
    "a model's address": ("POST", f"/v1/models/{MODEL}", 404, "NotFound", "openapi.json"),
    "a slash at the end": ("GET", "/v1/models/", 404, "NotFound", "openapi.json"),
    "a slash behind a page": ("GET", "/docs/", 404, "NotFound", "openapi.json"),
    "no id": ("GET", "/v1/predictions/xyz", 422, "BadInput", "32 hex digits"),
    "no day": ("GET", "/v1/usage?since=yesterday", 422, "BadInput", "YYYY-MM-DD"),
    "a number for a day": ("GET", "/v1/usage?since=0", 422, "BadInput", "YYYY-MM-DD"),
    "an unknown parameter": ("GET", "/v1/usage?model=foo", 422, "BadInput", "since, until"),
}


@pytest.mark.parametrize("what", ROUTED)
def test_what_the_router_refuses(router: str, what: str) -> None:
    method, path, status, error, expected = ROUTED[what]
    answer = httpx.request(method, f"{router}{path}")
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert expected in answer.json()["expected"]
    assert "pattern" not in json.dumps(answer.json())


@pytest.mark.parametrize("path", ["/v1/models", "/v1/usage", "/v1/usage?since=x", "/no"])
def test_json_is_written_in_one_way_whoever_answers(router: str, path: str) -> None:
    answer = httpx.get(f"{router}{path}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == json.dumps(answer.json(), separators=(",", ":"), ensure_ascii=False)


def test_an_ordinary_404_is_no_warning_in_the_routers_log(router: str, processes: Processes) -> None:
    assert httpx.get(f"{router}/v1/predictions/{UNKNOWN}", timeout=30).status_code == 404
    assert httpx.get(f"{router}/v1/predictions/xyz").status_code == 422
    assert "django.request" not in processes.running["messages"].log.read_text()


def test_the_routers_own_address_leads_to_its_page(router: str) -> None:
    answer = httpx.get(f"{router}/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    assert httpx.get(f"{router}/", follow_redirects=True).status_code == 200
