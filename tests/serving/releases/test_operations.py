"""What a service can be asked for beside a prediction of one file, over real HTTP: several files, render, explain,
embed, schema, roles."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import jsonschema
import nibabel as nib
import numpy as np
import pytest

from registry.contract import catalog
from registry.core.settings import settings
from registry.versions.bundle import Bundle, open_bundle, seal
from registry.versions.predictor import Predictor, golden_answer
from registry.vision.picture import to_jpeg
from tests.bundles import make_scan, make_tiny_bundle
from tests.clips import make_clip, scene
from tests.detector_bundle import make_detector_bundle
from tests.flows.batch.feature_bundle import make_feature_bundle
from tests.serving.local_api import answering
from tests.waiting import until

GOOD, BAD, TRUNCATED = to_jpeg(scene(1, 160, 120)), b"a letter, not a picture", to_jpeg(scene(2, 160, 120))[:-400]
TO_JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def detector(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    spec = catalog.get("object_detection")
    bundle = make_detector_bundle(tmp_path_factory.mktemp("detector") / "bundle", spec)
    with answering(spec, bundle.path) as (address, _), httpx.Client(base_url=address, timeout=60) as one:
        yield one


@pytest.fixture(scope="module")
def scans(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    spec = catalog.get("skin_segmentation")
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("scans") / "bundle")
    with answering(spec, bundle.path) as (address, _), httpx.Client(base_url=address, timeout=60) as one:
        yield one


@pytest.fixture(scope="module")
def fruit(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Predictor]]:
    bundle = _with_golden(make_feature_bundle(tmp_path_factory.mktemp("fruit") / "bundle"))
    with (
        answering(catalog.get("fruit_features"), bundle.path) as (address, _),
        httpx.Client(base_url=address, timeout=60) as one,
    ):
        yield one, Predictor.load(bundle.path)


def _with_golden(bundle: Bundle) -> Bundle:
    folder = bundle.path / "samples" / "golden"
    folder.mkdir(parents=True)
    (folder / "input").write_bytes(GOOD)
    (folder / "expected.json").write_text(json.dumps(golden_answer(Predictor(bundle)(GOOD))))
    seal(bundle.path, bundle.manifest)
    return open_bundle(bundle.path)


def form(*bodies: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{n}.jpg", body)) for n, body in enumerate(bodies)]


def encoded(body: bytes) -> str:
    return base64.b64encode(body).decode()


def test_several_files_get_an_answer_each_and_a_bad_one_spoils_none(detector: httpx.Client) -> None:
    alone = detector.post("/predict", content=GOOD).json()
    answer = detector.post("/predict", files=form(GOOD, BAD, b"", TRUNCATED, GOOD))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["model"], found["version"], found["role"]) == ("object_detection", 1, "live")
    first, *bad, last = found["results"]
    assert first["detections"] == last["detections"] == alone["detections"] != []
    assert len({first["id"], last["id"], alone["id"]}) == 3
    assert [one["status"] for one in bad] == [422, 422, 422]
    for one, says in zip(bad, ("not a picture", "empty", "truncated"), strict=True):
        assert says in one["found"]
        assert one["fix"]
    assert "x-prediction-id" not in answer.headers


def test_every_answer_of_several_is_in_the_log(detector: httpx.Client) -> None:

    from monitoring.log.models import Prediction

    ids = {one["id"] for one in detector.post("/predict", files=form(GOOD, GOOD, GOOD)).json()["results"]}
    until(lambda: Prediction.objects.filter(id__in=ids).count() == 3)


def test_too_many_files_are_refused(detector: httpx.Client) -> None:
    most = settings().max_inputs
    assert len(detector.post("/predict", files=form(*[GOOD] * most)).json()["results"]) == most
    as_form = detector.post("/predict", files=form(*[GOOD] * (most + 1)))
    as_json = detector.post("/predict", json={"inputs": [encoded(GOOD)] * (most + 1)})
    for answer in (as_form, as_json):
        assert (answer.status_code, f"more than {most} files" in answer.json()["found"]) == (413, True), answer.text


@pytest.mark.parametrize("head", ["", "data:image/jpeg;base64,"])
def test_base64_in_json_is_the_same_picture(detector: httpx.Client, head: str) -> None:
    raw = detector.post("/predict", content=GOOD).json()
    one = detector.post("/predict", json={"input": head + encoded(GOOD)}).json()
    (listed, bad) = detector.post("/predict", json={"inputs": [encoded(GOOD), "*"]}).json()["results"]
    assert one["detections"] == listed["detections"] == raw["detections"] != []
    assert (bad["status"], "not base64" in bad["found"]) == (422, True)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 422, "not JSON"),
        (b"[" * 10_000, 422, "not JSON"),
        (b"[" * 100_000, 422, "more than a list of texts"),
        (b"\xff\xfe\x00", 422, "not JSON"),
        (b"[]", 422, "an empty list"),
        (b"null", 422, "is null"),
        (b"{}", 422, "an empty object"),
        (b'{"picture": "AAAA"}', 422, "the key 'picture'"),
        (b'{"input": "AAAA", "url": "http://x"}', 422, "'input', 'url'"),
        (b'{"input": 7}', 422, "a number"),
        (b'{"input": ["AAAA"]}', 422, "a list"),
        (b'{"inputs": []}', 422, "an empty list"),
        (b'{"inputs": {"a": 1}}', 422, "an object"),
        (b'{"input": "AAA"}', 422, "not base64"),
        ('{"input": "\u00e4\u00f6"}'.encode(), 422, "not base64"),
        (b'{"input": ""}', 422, "empty"),
        (b'{"input": "AAAA"}', 422, "not a picture"),
        (b'{"url": "https://example.com/a.jpg"}', 422, "does not fetch from addresses"),
    ],
)
def test_bad_json_is_refused_with_one_clear_message(
    detector: httpx.Client, body: bytes, status: int, says: str
) -> None:
    answer = detector.post("/predict", content=body, headers=TO_JSON)
    assert (answer.status_code, says in answer.json()["found"]) == (status, True), answer.text
    assert answer.json()["fix"]
    assert "Traceback" not in answer.text


def test_an_address_in_a_list_is_its_own_error(detector: httpx.Client) -> None:
    (one,) = detector.post("/predict", json={"urls": ["http://127.0.0.1/"]}).json()["results"]
    assert (one["status"], "does not fetch from addresses" in one["found"]) == (422, True)


def test_several_files_are_answered_in_json_only(detector: httpx.Client) -> None:
    for path in ("/predict?format=jpg", "/render", "/explain"):
        answer = detector.post(path, files=form(GOOD, GOOD))
        assert (answer.status_code, "several files" in answer.json()["found"]) == (422, True), path


def test_render_gives_what_a_person_looks_at(detector: httpx.Client, scans: httpx.Client) -> None:
    jpeg = detector.post("/predict", content=GOOD, headers={"Accept": "image/jpeg"})
    drawn = detector.post("/render", content=GOOD)
    assert (drawn.headers["content-type"], drawn.content) == ("image/jpeg", jpeg.content)
    assert len(drawn.headers["x-prediction-id"]) == 32
    clip = make_clip(10, (96, 64))
    assert detector.post("/render", content=clip).headers["content-type"] == "video/webm"
    assert detector.post("/render?format=jpg", content=clip).headers["content-type"] == "image/jpeg"
    assert scans.post("/render", content=make_scan(3)).headers["content-type"] == "image/jpeg"
    mask = scans.post("/render", content=make_scan(3), headers={"Accept": "application/x-nifti"})
    assert nib.Nifti1Image.from_bytes(gzip.decompress(mask.content)).shape == (64, 48, 2)


def test_render_gives_no_json(detector: httpx.Client) -> None:
    answer = detector.post("/render", content=GOOD, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (406, "NotAcceptable")


def test_explain_is_predict_with_its_explanation(detector: httpx.Client) -> None:
    heat = detector.post("/explain", content=GOOD)
    long_way = detector.post("/predict?explain=true", content=GOOD, headers={"Accept": "image/jpeg"})
    assert (heat.headers["content-type"], heat.content) == ("image/jpeg", long_way.content)
    told = detector.post("/explain", content=GOOD, headers={"Accept": "application/json"}).json()
    assert told["explanation"]["network_calls"] == 65
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(told["explanation"]["image"]), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None


def test_embed_gives_the_networks_features(fruit: tuple[httpx.Client, Predictor]) -> None:
    client, predictor = fruit
    expected = predictor(GOOD).embedding
    found = client.post("/embed", content=GOOD).json()
    np.testing.assert_array_equal(np.array(found["embedding"], np.float32), expected)
    assert found["dimensions"] == len(expected) == 1280
    assert len(found["id"]) == 32
    assert "class" not in found
    answer = client.post("/embed", content=GOOD, headers={"Accept": "application/x-npy"})
    array = np.load(io.BytesIO(answer.content), allow_pickle=False)
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == np.float32
    assert answer.headers["content-disposition"].endswith('.npy"')
    several = client.post("/embed", files=form(GOOD, BAD)).json()["results"]
    assert several[0]["embedding"] == found["embedding"]
    assert several[1]["status"] == 422


def test_embed_is_there_only_where_it_means_something(
    fruit: tuple[httpx.Client, Predictor], detector: httpx.Client
) -> None:
    assert "/embed" in fruit[0].get("/openapi.json").json()["paths"]
    assert "/embed" not in detector.get("/openapi.json").json()["paths"]
    assert detector.post("/embed", content=GOOD).status_code == 404
    assert fruit[0].get("/schema").json()["embeds"]
    assert detector.get("/schema").json()["embeds"] is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/embed", 404),
        ("GET", "/nothing", 404),
        ("GET", "/static_content/none.js", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/predict/", 404),
        ("GET", "/predict", 405),
        ("PUT", "/metrics", 405),
        ("HEAD", "/nothing", 404),
    ],
)
def test_what_a_service_does_not_have_it_says_as_any_error(
    detector: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = detector.request(method, path, headers={"Host": "elsewhere.example"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.headers["x-model"] == "object_detection"
    if method != "HEAD":
        found = answer.json()
        assert found["found"] == f"object_detection has no {method} {path}"
        assert found["expected"]
        assert found["fix"]
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("role", ["canary", "shadow", "a", "b", "live"])
def test_the_role_is_that_of_the_request(detector: httpx.Client, role: str) -> None:
    answer = detector.post("/predict", content=GOOD, headers={"X-Release-Role": role})
    assert answer.headers["x-release-role"] == answer.json()["role"] == role
    listed = detector.post("/predict", files=form(GOOD, GOOD), headers={"X-Release-Role": role}).json()
    assert [listed["role"], listed["results"][1]["role"]] == [role, role]
    refused = detector.post("/predict", content=BAD, headers={"X-Release-Role": role})
    assert refused.headers["x-release-role"] == role
    assert f'role="{role}",status="200"' in detector.get("/metrics").text


def test_an_unknown_role_counts_as_live(detector: httpx.Client) -> None:
    answer = detector.post("/predict", content=GOOD, headers={"X-Release-Role": 'x",evil="1'})
    assert answer.headers["x-release-role"] == "live"
    assert "evil" not in detector.get("/metrics").text


def test_an_error_is_found_in_the_log_by_its_id(detector: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = detector.post("/predict", content=BAD)
    listed = detector.post("/predict", files=form(GOOD, TRUNCATED, b"")).json()["results"]

    def broken(*_: object) -> bytes:
        raise RuntimeError("a defect")

    monkeypatch.setattr(type(catalog.get("object_detection").render), "picture", broken)
    failed = detector.post("/predict", content=GOOD, headers={"Accept": "image/jpeg"})
    assert [refused.status_code, failed.status_code] == [422, 500]
    assert "id" not in listed[1]
    assert "prediction_id" not in listed[2], "it was not begun"
    ids = (refused.headers["x-prediction-id"], listed[1]["prediction_id"], failed.headers["x-prediction-id"])
    assert [logged(one) for one in ids] == [("BadInput", 422), ("BadInput", 422), ("RuntimeError", 500)]
    assert "x-prediction-id" not in detector.post("/predict", content=b"").headers


def logged(identity: str) -> tuple[str, int]:
    """Outcome and status of a prediction in the log, once it is there."""

    from monitoring.log.models import Prediction

    row = until(lambda: Prediction.objects.filter(id=identity).first())
    return row.outcome, row.status


def test_the_role_is_in_the_log(detector: httpx.Client) -> None:

    from monitoring.log.models import Prediction

    identity = detector.post("/predict", content=GOOD, headers={"X-Release-Role": "shadow"}).json()["id"]
    assert until(lambda: Prediction.objects.filter(id=identity).first()).role == "shadow"


def test_the_schema_describes_an_answer(detector: httpx.Client, scans: httpx.Client) -> None:
    schema = detector.get("/schema").json()
    assert schema["classes"][0] == "person"
    assert schema["thresholds"] == {"score": 0.25, "iou": 0.6}
    assert schema["limits"]["max_inputs"] == settings().max_inputs
    assert "image/jpeg" in schema["media_in"]
    assert "video/webm" in schema["media_out"]
    for client, body in ((detector, GOOD), (scans, make_scan(3))):
        jsonschema.validate(client.post("/predict", content=body).json(), client.get("/schema").json()["answer"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            scans.post("/predict", content=make_scan(3)).json() | {"detections": "none"}, schema["answer"]
        )


def test_the_documents_show_every_operation_with_examples(detector: httpx.Client) -> None:
    paths = detector.get("/openapi.json").json()["paths"]
    for name in ("predict", "render", "explain"):
        post = paths[f"/{name}"]["post"]
        for piece in ("curl ", "urlopen(", f"/v1/models/object_detection/{name}"):
            assert piece in post["description"]
        assert {"413", "415", "422", "429", "503"} <= set(post["responses"])
        assert "application/json" in post["requestBody"]["content"]
    assert {"/schema", "/metrics", "/healthz", "/readyz"} <= set(paths)


def test_the_python_example_runs(detector: httpx.Client, tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "input.jpg").write_bytes(GOOD)
    paths = detector.get("/openapi.json").json()["paths"]
    for name, says in (("predict", "'detections'"), ("render", "")):
        code = paths[f"/{name}"]["post"]["description"].split("```python\n")[1].split("```")[0]
        here = code.replace(
            f"{settings().router_address}/v1/models/object_detection", str(detector.base_url).rstrip("/")
        )
        assert here != code
        done = subprocess.run([sys.executable, "-c", here], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert says in done.stdout
    assert (tmp_path / "answer.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_what_takes_long_by_nature_says_nothing_about_the_line_of_pictures(detector: httpx.Client) -> None:
    def mean() -> float:
        lines = detector.get("/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith("visionloop_service_seconds{"))

    assert detector.post("/predict", content=GOOD).status_code == 200
    before = mean()
    assert detector.post("/explain", content=GOOD).status_code == 200
    assert mean() == before > 0
