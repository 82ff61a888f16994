"""The typed routes: what the log has of a prediction, its label, and the usage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest

from monitoring.log import inputs
from registry.core.files import write_file
from serving.access import keys
from tests.bundles import AFFINE, MODEL, make_scan
from tests.serving.access.conftest import bearer, known

RAW = {"Content-Type": "application/gzip"}
PREDICT = f"/v1/models/{MODEL}/predict"
UNKNOWN = "0" * 32


@pytest.fixture(scope="module")
def token(guarded: str) -> str:
    return known(guarded, keys.create("predicts")[1])


@pytest.fixture(scope="module")
def predicted(live: str, token: str) -> str:
    answer = httpx.post(f"{live}{PREDICT}", content=make_scan(1), headers={**RAW, **bearer(token)})
    return str(answer.headers["x-prediction-id"])


def _mask() -> bytes:
    image = nib.Nifti1Image(np.ones((64, 48, 2), dtype=np.uint8), AFFINE)
    return bytes(image.to_bytes())


def test_a_prediction_can_be_looked_at_right_after_its_answer(live: str, token: str) -> None:
    answer = httpx.post(f"{live}{PREDICT}", content=make_scan(2), headers={**RAW, **bearer(token)})
    one = httpx.get(f"{live}/v1/predictions/{answer.headers['x-prediction-id']}", headers=bearer(token))
    assert one.status_code == 200
    found = one.json()
    assert (found["model"], found["version"], found["role"]) == (MODEL, 1, answer.headers["x-release-role"])
    assert (found["outcome"], found["status"], found["feedback"]) == ("ok", 200, None)
    assert found["prediction_statistics"]
    assert found["elapsed_ms"] > 0
    head = httpx.head(f"{live}/v1/predictions/{answer.headers['x-prediction-id']}", headers=bearer(token))
    assert (head.status_code, head.content) == (200, b"")


def test_predictions_are_their_callers_own(live: str, predicted: str, other: str, admin: str) -> None:
    address = f"{live}/v1/predictions/{predicted}"
    foreign = httpx.get(address, headers=bearer(other), timeout=10)
    assert foreign.status_code == 404
    assert foreign.json()["found"] == f"there is no prediction {predicted}"
    assert (
        httpx.post(f"{address}/feedback", files={"file": _mask()}, headers=bearer(other), timeout=10).status_code == 404
    )
    assert httpx.get(address, headers=bearer(admin)).status_code == 200


def test_an_unknown_prediction_is_404_and_says_to_try_again(live: str, token: str) -> None:
    answer = httpx.get(f"{live}/v1/predictions/{UNKNOWN}", headers=bearer(token), timeout=10)
    assert (answer.status_code, answer.headers["retry-after"]) == (404, "1")
    assert answer.json()["error"] == "NotFound"


def test_feedback_is_accepted_for_a_prediction_still_on_its_way(live: str, token: str) -> None:
    """The row comes a second after the feedback, as when the database is busy."""
    import threading
    from datetime import UTC, datetime

    from monitoring.log.models import Feedback, Prediction

    identity = "ab" * 16

    def arrive() -> None:
        from django.db import connection

        time.sleep(1)
        when = datetime.now(UTC)
        write_file(inputs.path_of(MODEL, when.timestamp(), identity, ".nii"), make_scan(1))
        Prediction.objects.create(
            id=identity, time=when, model=MODEL, version=1, role="live",
            caller=token.rsplit("_", 1)[0], latency_ms=1.0, outcome="ok", status=200, input_suffix=".nii",
        )  # fmt: skip
        connection.close()

    late = threading.Thread(target=arrive)
    late.start()
    answer = httpx.post(
        f"{live}/v1/predictions/{identity}/feedback", files={"file": _mask()}, headers=bearer(token), timeout=10
    )
    late.join()
    assert answer.status_code == 200, answer.text
    assert Feedback.objects.get(prediction_id=identity).source == token.rsplit("_", 1)[0]


def test_a_second_label_replaces_the_first(live: str, predicted: str, token: str) -> None:
    address = f"{live}/v1/predictions/{predicted}"
    said = [httpx.post(f"{address}/feedback", files={"file": _mask()}, headers=bearer(token)).json() for _ in range(2)]
    assert [one["replaced"] for one in said] == [False, True]
    assert said[0]["model"] == MODEL
    given = httpx.get(address, headers=bearer(token)).json()["feedback"]
    assert (given["label"], given["score"]) == (None, None)


def test_a_label_in_the_field_label_may_be_a_file_too(live: str, predicted: str, token: str) -> None:
    address = f"{live}/v1/predictions/{predicted}/feedback"
    assert httpx.post(address, files={"label": _mask()}, headers=bearer(token)).status_code == 200


SAYS: dict[str, tuple[dict[str, Any], str, str]] = {
    "another field": ({"files": {"mask": b"x"}}, "the form holds 'mask'", "in the field `file`"),
    "a word for a mask": ({"files": {"label": (None, "skin")}}, "the label is the text 'skin'", "a NIfTI mask"),
    "a number": ({"json": {"label": 5}}, "`label` is a number: 5", "a text of 1 to 256"),
    "an empty object": ({"json": {}}, "the JSON body holds nothing", '{"label": "..."}'),
    "another key": ({"json": {"mask": "x"}}, "the JSON body holds 'mask'", '{"label": "..."}'),
    "a list": ({"json": []}, "the JSON body is not an object", '{"label": "..."}'),
    "the grey picture itself": ({"files": {"file": make_scan(1)}}, "the label holds the value", "1 is skin"),
}


@pytest.mark.parametrize("name", SAYS)
def test_a_refusal_is_about_what_is_wrong(live: str, predicted: str, token: str, name: str) -> None:
    sent, found, expected = SAYS[name]
    answer = httpx.post(f"{live}/v1/predictions/{predicted}/feedback", **sent, headers=bearer(token))
    assert answer.status_code == 422
    assert found in answer.json()["found"]
    assert expected in answer.json()["expected"]
    assert "docs/" not in answer.text, "a caller has none"


def test_a_prediction_that_failed_has_nothing_to_label(live: str, token: str) -> None:
    refused = httpx.post(f"{live}{PREDICT}", content=b"no scan", headers={**RAW, **bearer(token)})
    address = f"{live}/v1/predictions/{refused.headers['x-prediction-id']}"
    answer = httpx.post(f"{address}/feedback", files={"file": _mask()}, headers=bearer(token), timeout=10)
    assert (refused.status_code, answer.status_code) == (415, 409)
    assert answer.json()["found"] == "the request was answered with 415 (UnsupportedMedia): there is nothing to label"
    assert httpx.get(address, headers=bearer(token)).json()["feedback"] is None


BROKEN: dict[str, tuple[dict[str, Any], int]] = {
    "no body": ({}, 415),
    "another type": ({"content": b"apple", "headers": {"Content-Type": "text/plain"}}, 415),
    "not JSON": ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422),
    "JSON of another form": ({"json": ["apple"]}, 422),
    "a class that is none": ({"json": {"label": "apple"}}, 422),
    "an empty label": ({"json": {"label": ""}}, 422),
    "a number": ({"json": {"label": 3}}, 422),
    "a form without either": ({"files": {"image": b"x"}}, 422),
    "a file that is no label": ({"files": {"file": b"\x00\x01nonsense"}}, 415),
    "an empty file": ({"files": {"file": b""}}, 422),
    "no boundary": ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 422),
    "nested too deep": ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 422),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_label_is_refused_with_a_hint(live: str, predicted: str, token: str, name: str) -> None:
    sent, status = BROKEN[name]
    sent = {**sent, "headers": {**sent.get("headers", {}), **bearer(token)}}
    answer = httpx.post(f"{live}/v1/predictions/{predicted}/feedback", **sent)
    assert answer.status_code == status, answer.text
    assert answer.json()["fix"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("identity", ["x", "..%2f..%2fetc%2fpasswd", "A" * 32, "0" * 33, "%00" * 32])
def test_ids_of_another_form_are_refused_before_anything_is_looked_up(live: str, token: str, identity: str) -> None:
    answer = httpx.get(f"{live}/v1/predictions/{identity}", headers=bearer(token))
    assert answer.status_code in (404, 422)
    assert answer.json()["error"] in ("NotFound", "BadInput")


def test_a_label_that_is_too_large_is_refused(live: str, predicted: str, token: str) -> None:
    headers = {**bearer(token), "Content-Type": "application/json"}
    answer = httpx.post(
        f"{live}/v1/predictions/{predicted}/feedback",
        content=iter([b" " * (1 << 20)] * 70),
        headers=headers,
        timeout=30,
    )
    assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")


def test_usage_is_the_keys_own_and_exact_to_the_moment(live: str) -> None:
    api_key, token = keys.create("counts", per_month=1000, per_minute=50)
    known(live, token)
    before = _requests(live, token, MODEL)
    for _ in range(3):
        httpx.post(f"{live}{PREDICT}", content=make_scan(1), headers={**RAW, **bearer(token)})
    assert _requests(live, token, MODEL) == before + 3
    report = httpx.get(f"{live}/v1/usage", headers=bearer(token)).json()
    assert {row["key"] for row in report["rows"]} == {api_key.caller}
    assert (report["quota"]["per_minute"], report["quota"]["per_month"]) == (50, 1000)
    assert report["quota"]["used_this_month"] >= 5


def _requests(router: str, token: str, model: str) -> int:
    rows = httpx.get(f"{router}/v1/usage", headers=bearer(token)).json()["rows"]
    return sum(row["requests"] for row in rows if row["model"] == model)


def test_admins_see_all_usage(live: str, token: str, admin: str) -> None:
    httpx.get(f"{live}/v1/usage", headers=bearer(token))
    rows = httpx.get(f"{live}/v1/usage", headers=bearer(admin)).json()["rows"]
    assert {token.rsplit("_", 1)[0], admin.rsplit("_", 1)[0]} <= {row["key"] for row in rows}


def test_an_admin_of_some_models_sees_what_was_asked_of_those(live: str, token: str) -> None:
    api_key, one_model = keys.create("admin of one", actions=["admin"], models=["fruit_features"])
    known(live, one_model)
    for model in (MODEL, "fruit_features"):
        httpx.post(f"{live}/v1/models/{model}/predict", content=b"x", headers=bearer(token))
    rows = httpx.get(f"{live}/v1/usage", headers=bearer(one_model)).json()["rows"]
    assert {row["model"] for row in rows if row["key"] != api_key.caller} == {"fruit_features"}
    assert token.rsplit("_", 1)[0] in {row["key"] for row in rows}
    assert any(row["key"] == api_key.caller and not row["model"] for row in rows), "its own are all there"


@pytest.mark.parametrize("query", ["since=yesterday", "since=2026-02-30", "since=2026-02-02&until=2026-02-01"])
def test_days_that_are_none_are_422(live: str, token: str, query: str) -> None:
    answer = httpx.get(f"{live}/v1/usage?{query}", headers=bearer(token))
    assert (answer.status_code, answer.json()["error"]) == (422, "BadInput")


def test_another_method_is_405_with_the_ones_there_are(live: str, token: str) -> None:
    answer = httpx.put(f"{live}/v1/predictions/{UNKNOWN}", headers=bearer(token))
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


def test_nothing_of_it_leaves_a_file_behind(live: str, predicted: str, token: str, project: Path) -> None:
    """A file name that a caller gives is not used."""
    files = {"file": ("../../../escaped.nii", _mask())}
    answer = httpx.post(f"{live}/v1/predictions/{predicted}/feedback", files=files, headers=bearer(token))
    assert answer.status_code == 200
    assert not list(project.parent.rglob("escaped*"))
