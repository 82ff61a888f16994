"""One version as a real Bento, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import nibabel as nib
import numpy as np
import pytest

from registry.core.settings import settings
from registry.encryption.files import read_file
from registry.versions.predictor import Predictor
from tests.bundles import AFFINE, MODEL, make_scan
from tests.serving.conftest import Packaged, Running
from tests.serving.inputs import REFUSED
from tests.waiting import until

RAW = {"Content-Type": "application/gzip"}


@pytest.fixture
def client(service: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as one:
        yield one


def test_answers_json_by_default_with_what_was_found_and_who_answered(
    client: httpx.Client, packaged: dict[int, Packaged]
) -> None:
    body = make_scan(3)
    answer = client.post("/predict", content=body, headers=RAW)
    assert answer.status_code == 200
    found = answer.json()
    expected = Predictor.load(packaged[1].bundle.path)(body).result.to_json()
    assert {name: found[name] for name in expected} == expected
    assert found["model"] == MODEL
    assert found["version"] == 1
    assert found["role"] == "live"
    assert found["elapsed_ms"] >= sum(found["timings_ms"].values()) * 0.9
    assert answer.headers["x-prediction-id"] == found["id"]
    assert len(found["id"]) == 32
    assert answer.headers["x-model"] == MODEL
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-release-role"] == "live"
    assert "total;dur=" in answer.headers["server-timing"]


@pytest.mark.parametrize("packed", [True, False])
def test_a_form_and_a_raw_body_give_the_same_answer(client: httpx.Client, packed: bool) -> None:
    body = make_scan(4) if packed else gzip.decompress(make_scan(4))
    raw = client.post("/predict", content=body, headers={"Content-Type": "application/octet-stream"}).json()
    form = client.post("/predict", files={"file": ("scan.nii", body)}).json()
    bare = client.post("/predict", content=body).json()  # no content type at all
    assert raw["voxels"] == form["voxels"] == bare["voxels"] > 0


def test_the_mask_has_the_affine_and_the_grid_of_the_input(client: httpx.Client) -> None:
    answer = client.post(
        "/predict", content=make_scan(5, (40, 30, 6)), headers={**RAW, "Accept": "application/x-nifti"}
    )
    assert answer.headers["content-type"] == "application/x-nifti"
    assert answer.headers["content-disposition"].endswith('.nii.gz"')
    mask = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-4)
    assert mask.shape == (40, 30, 6)
    assert set(np.unique(mask.get_fdata())) == {0.0, 1.0}


def test_the_picture_is_a_jpeg(client: httpx.Client) -> None:
    answer = client.post("/predict", content=make_scan(5), headers={**RAW, "Accept": "image/*"})
    assert answer.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert min(picture.shape[:2]) >= 32


@pytest.mark.parametrize(
    ("accept", "query", "expected"),
    [
        ("*/*", "", "application/json"),
        ("application/json;q=0.1, image/jpeg;q=0.9", "", "image/jpeg"),
        ("image/jpeg, application/json;q=0", "", "image/jpeg"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "", "application/json"),
        ("*/*", "jpg", "image/jpeg"),
        ("application/json", "nifti", "application/x-nifti"),
    ],
)
def test_accept_or_format_chooses_the_answer(client: httpx.Client, accept: str, query: str, expected: str) -> None:
    parameters = {"format": query} if query else None
    answer = client.post("/predict", params=parameters, content=make_scan(6), headers={**RAW, "Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, expected)


def _picture(encoded: str) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(encoded, validate=True), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


def test_an_explanation_comes_with_the_json_and_says_what_it_cost(client: httpx.Client) -> None:
    body = make_scan(3)
    plain = client.post("/predict", content=body, headers=RAW).json()
    found = client.post("/predict?explain=true&image=true", content=body, headers=RAW).json()
    assert {"explanation", "image"}.isdisjoint(plain)
    assert found["voxels"] == plain["voxels"]
    assert found["explanation"]["network_calls"] == 65
    assert 0 < found["explanation"]["elapsed_ms"] <= found["elapsed_ms"]
    assert found["explanation"]["evidence_lost"] > 0
    heat, image = _picture(found["explanation"]["image"]), _picture(found["image"])
    assert np.ptp(heat.astype(int), axis=2).max() > 100, "the heat is in colour"
    assert heat.shape == image.shape, "they can be laid over each other"


def test_an_explanation_is_a_picture_where_a_picture_is_accepted(client: httpx.Client) -> None:
    headers = {**RAW, "Accept": "image/jpeg"}
    heat = client.post("/predict?explain=1", content=make_scan(3), headers=headers)
    plain = client.post("/predict?explain=0", content=make_scan(3), headers=headers)
    assert heat.headers["content-type"] == plain.headers["content-type"] == "image/jpeg"
    assert heat.content[:2] == plain.content[:2] == b"\xff\xd8"
    assert heat.content != plain.content


def test_where_nothing_was_found_there_is_nothing_to_explain(client: httpx.Client) -> None:
    empty = gzip.compress(bytes(nib.Nifti1Image(np.zeros((16, 16), np.int16), np.eye(4)).to_bytes()))
    found = client.post("/predict?explain=true", content=empty, headers=RAW)
    assert found.status_code == 200
    assert found.json()["explanation"]["image"] is None
    assert "no skin" in found.json()["explanation"]["why_not"]
    refused = client.post("/predict?explain=true", content=empty, headers={**RAW, "Accept": "image/jpeg"})
    assert (refused.status_code, refused.json()["found"]) == (422, "no skin was found")


def test_an_explanation_does_not_count_as_the_versions_latency(client: httpx.Client) -> None:
    from monitoring.log.models import Prediction

    found = client.post("/predict?explain=true", content=make_scan(12), headers=RAW).json()
    row = until(lambda: Prediction.objects.filter(id=found["id"]).first())
    assert row.latency_ms <= found["elapsed_ms"] - found["explanation"]["elapsed_ms"]


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("form", [False, True])
def test_bad_files_are_refused_with_one_clear_message(client: httpx.Client, name: str, form: bool) -> None:
    body, status, says = REFUSED[name]
    if form:
        answer = client.post("/predict", files={"file": ("scan.nii.gz", body)})
    else:
        answer = client.post("/predict", content=body, headers=RAW)
    refusal = answer.json()
    assert (answer.status_code, says in refusal["found"]) == (status, True), refusal
    assert refusal["fix"]
    assert "Traceback" not in answer.text
    assert client.post("/predict", content=make_scan(1), headers=RAW).status_code == 200


@pytest.mark.parametrize(
    ("headers", "query", "status", "error"),
    [
        ({"Content-Type": "text/plain"}, "", 415, "UnsupportedMedia"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "", 415, "UnsupportedMedia"),
        ({**RAW, "Accept": "text/csv"}, "", 406, "NotAcceptable"),
        (RAW, "?format=tiff", 422, "BadInput"),
        (RAW, "?explain=perhaps", 422, "BadInput"),
        (RAW, "?image=2", 422, "BadInput"),
        (RAW, "?explain=true&format=nifti", 422, "BadInput"),
        ({"Content-Type": "multipart/form-data"}, "", 422, "BadInput"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "", 422, "BadInput"),
    ],
)
def test_bad_requests_are_refused(
    client: httpx.Client, headers: dict[str, str], query: str, status: int, error: str
) -> None:
    answer = client.post(f"/predict{query}", content=make_scan(1), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


def test_a_form_without_the_field_names_what_it_holds(client: httpx.Client) -> None:
    answer = client.post("/predict", files={"image": ("a.nii", make_scan(1))}, data={"note": "x"})
    assert answer.status_code == 422
    assert "'image'" in answer.json()["found"]


def test_a_2_gb_upload_is_refused_before_it_is_read(service: Running) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(
            f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/gzip\r\n"
            f"Content-Length: {2 << 30}\r\n\r\n".encode()
            + b"\0" * 1000
        )
        answer = b"".join(iter(lambda: line.recv(65536), b""))  # the service closes the connection
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"2,147,483,648 bytes" in answer


@pytest.mark.parametrize("form", [False, True])
def test_an_upload_of_unknown_length_is_cut_off_at_the_limit(service: Running, form: bool) -> None:
    limit, sent = settings().max_upload_mb << 20, 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        if form:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(2048):
            sent += 1 << 20
            yield b"\0" * (1 << 20)

    kind = "multipart/form-data; boundary=x" if form else "application/gzip"
    before = _resident_mb(service.pid)
    answer = httpx.post(f"{service.url}/predict", content=endless(), headers={"Content-Type": kind}, timeout=60)
    assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")
    assert sent < limit + (64 << 20)
    assert _resident_mb(service.pid) < before + 4 * settings().max_upload_mb


def _resident_mb(pid: int) -> float:
    import psutil

    return float(psutil.Process(pid).memory_info().rss) / 1e6


def test_the_loop_answers_probes_while_predictions_run(service: Running) -> None:
    big = make_scan(2, (512, 512, 24))

    async def both() -> tuple[list[int], int]:
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as one:
            running = [asyncio.create_task(one.post("/predict", content=big, headers=RAW)) for _ in range(4)]
            probes = 0
            while not all(task.done() for task in running):
                assert (await one.get("/livez")).status_code == 200
                probes += 1
                await asyncio.sleep(0.01)
            return [task.result().status_code for task in running], probes

    statuses, probes = asyncio.run(both())
    assert statuses == [200] * 4
    assert probes >= 4, "probes waited for the predictions"


def test_probes_metrics_and_documents(client: httpx.Client) -> None:
    assert [client.get(path).status_code for path in ("/healthz", "/livez", "/readyz")] == [200] * 3
    client.post("/predict", content=make_scan(1), headers=RAW)
    text = client.get("/metrics").text
    labels = f'model="{MODEL}",version="1"'
    for line in (
        f'visionloop_request_seconds_bucket{{le="0.005",{labels}}}',
        f'visionloop_prediction_sum{{model="{MODEL}",name="foreground_share",version="1"}}',
        f'visionloop_step_seconds_count{{model="{MODEL}",step="network",version="1"}}',
        f'visionloop_requests_total{{media="application/json",model="{MODEL}",role="live",status="200",version="1"}}',
        f'visionloop_predictions_unlogged_total{{model="{MODEL}",reason="disk",version="1"}} 0.0',
        f'visionloop_predictions_unlogged_total{{model="{MODEL}",reason="spool_full",version="1"}} 0.0',
        f"visionloop_log_waiting_bytes{{{labels}}}",
        "process_resident_memory_bytes",
    ):
        assert line in text, text


def test_metrics_count_each_request_once(client: httpx.Client) -> None:
    def count() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("visionloop_requests_total{"))

    before = count()
    client.post("/predict", content=make_scan(1), headers=RAW)
    client.post("/predict", content=b"", headers=RAW)
    assert count() == before + 2


def test_the_openapi_document_describes_what_the_service_does(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    post = document["paths"]["/predict"]["post"]
    assert set(post["responses"]["200"]["content"]) == {"application/json"}
    drawn = document["paths"]["/render"]["post"]["responses"]["200"]["content"]
    assert set(drawn) == {"application/x-nifti", "image/jpeg"}
    assert "application/octet-stream" in post["requestBody"]["content"]
    assert {"406", "413", "415", "422", "500", "503"} <= set(post["responses"])
    assert "multipart/form-data" in post["requestBody"]["content"]
    assert {one["name"] for one in post["parameters"]} == {"explain", "image", "version", "Idempotency-Key"}
    for pointer in _references(document):
        target = document
        for key in pointer.removeprefix("#/").split("/"):
            target = target[key]
    answer = client.post("/predict", content=make_scan(1), headers=RAW).json()
    assert set(document["components"]["schemas"]["Prediction"]["required"]) <= set(answer)


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield str(node["$ref"])
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_the_docs_page_needs_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    assert "//" not in page.replace("</", "")
    for asset in ("static_content/swagger-ui.css", "static_content/swagger-ui-bundle.js"):
        assert asset in page
        assert client.get(f"/{asset}").status_code == 200
    assert client.get("/", follow_redirects=True).text == page


def test_the_service_loads_no_training_framework(service: Running) -> None:
    maps = Path(f"/proc/{service.pid}/maps").read_text()
    for name in ("/torch/", "/tensorflow/", "/mlflow/", "/evidently/", "/pandas/"):
        assert name not in maps, name
    assert "/onnxruntime/" in maps


def test_every_prediction_is_in_the_database_and_its_input_is_kept(client: httpx.Client, project: Path) -> None:
    from monitoring.log.models import Prediction

    body = make_scan(11)
    good = client.post("/predict", content=body, headers=RAW).headers["x-prediction-id"]
    rows = until(lambda: Prediction.objects.filter(id=good))
    assert rows[0].version == 1
    assert rows[0].outcome == "ok"
    assert rows[0].image_statistics
    (kept,) = (project / "var" / "inputs" / MODEL).rglob(f"{good}.nii.gz")
    assert read_file(kept, kept.name) == body
    assert body[:64] not in kept.read_bytes()


def test_json_answers_carry_no_nan(client: httpx.Client) -> None:
    flat = gzip.compress(bytes(nib.Nifti1Image(np.zeros((16, 16), np.int16), np.eye(4)).to_bytes()))
    answer = client.post("/predict", content=flat, headers=RAW)
    assert answer.status_code == 200
    json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} in the answer"))
