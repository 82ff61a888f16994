"""The one document: valid, complete, and what the router does is what it says (schemathesis)."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi import checks as openapi_checks

from registry.contract import catalog
from serving.access import keys
from tests.bundles import MODEL, make_scan
from tests.serving.access.conftest import bearer, known

EXPLAINED = ("predict", "render", "explain", "embed", "feedback", "usage", "predictions", "{prediction_id}")
QUICK, THOROUGH = 120, 5000
MOST = {QUICK: {"prediction": 1, "feedback": 2}, THOROUGH: {"prediction": 60, "feedback": 200}}
"""Cases of what waits for an unknown prediction: each of those takes three seconds."""


@pytest.fixture(scope="module")
def token(guarded: str) -> str:
    return known(guarded, keys.create("fuzzer", actions=["predict", "read", "feedback"])[1])


@pytest.fixture(scope="module")
def document(live: str) -> dict[str, Any]:
    return dict(httpx.get(f"{live}/openapi.json").json())


def test_it_is_valid_and_has_every_model_and_typed_route(document: dict[str, Any]) -> None:
    from openapi_spec_validator import validate

    validate(document)
    paths = document["paths"]
    names = {spec.name: spec for spec in map(catalog.get, catalog.names())}
    for operation in ("predict", "render", "explain", "embed", "tasks"):
        post = paths[f"/v1/models/{{model}}/{operation}"]["post"]
        (model,) = [one for one in post["parameters"] if one["name"] == "model"]
        known = {name for name, spec in names.items() if operation != "embed" or spec.embeds}
        assert set(model["schema"]["enum"]) == known
        taken = {media for name in known for media in names[name].media_in}
        assert set(post["requestBody"]["content"]) == {*taken, "application/json", "multipart/form-data"}
    assert {"/v1/models", "/v1/predictions/{prediction_id}", "/v1/usage", "/healthz"} <= paths.keys()
    names_of_calls = [one["operationId"] for methods in paths.values() for one in methods.values()]
    assert len(names_of_calls) == len(set(names_of_calls))


def test_it_has_what_customers_call_and_no_probes_of_models(document: dict[str, Any]) -> None:
    ends = {path.rpartition("/")[2] for path in document["paths"] if path.startswith("/v1/models/")}
    assert not ends & {"healthz", "livez", "readyz", "metrics"}
    assert {"predict", "render", "explain", "tasks", "schema"} <= ends


SCHEMAS = {
    "Caller", "Deletion", "Embedding", "Error", "Explanation", "Feedback", "FeedbackReceipt", "Health",
    "KeyDescription", "Limits", "LoggedPrediction", "Model", "ModelDescription", "ModelList", "NewKey", "Prediction",
    "PredictionList", "PredictionPage", "PredictionRequest", "Quota", "Task", "TaskPage", "UsageReport", "UsageRow",
    "WebhookSecret",
}  # fmt: skip


def test_every_schema_has_a_telling_name_and_text_and_is_used(document: dict[str, Any]) -> None:
    """Generated clients name their classes after them."""
    schemas = document["components"]["schemas"]
    assert schemas.keys() == SCHEMAS
    assert all(schema["description"] for schema in schemas.values())
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert used == SCHEMAS
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, one in operation["responses"].items():
                schema = one.get("content", {}).get("application/json", {}).get("schema", {"$ref": ""})
                assert schema.keys() & {"$ref", "oneOf"}, f"{path} answers {status} with a schema that has no name"


def test_a_time_has_one_name_and_its_unit(document: dict[str, Any]) -> None:
    """So that a reader of two answers need not ask whether they mean the same."""
    named = {name for schema in document["components"]["schemas"].values() for name in schema.get("properties", {})}
    times = {name for name in named if name.endswith("_ms")}
    assert times == {"elapsed_ms", "timings_ms"}
    assert not [name for name in named if "second" in name or "latency" in name]


def test_every_guarded_operation_declares_the_errors_of_the_door(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if operation.get("security") == [{}]:
                continue
            assert {"401", "403", "429", "503"} <= operation["responses"].keys(), path
            assert ("408" in operation["responses"]) == ("requestBody" in operation), path
            for status, one in operation["responses"].items():
                if not status.startswith("2"):
                    assert one["content"]["application/json"]["schema"]["$ref"].endswith("/Error"), (path, status)
            if path.rpartition("/")[2] in EXPLAINED:
                assert "422" in operation["responses"]
                assert "```sh" in operation["description"], path
                assert "```python" in operation["description"], path


def test_the_page_loads_nothing_from_elsewhere(live: str) -> None:
    page = httpx.get(f"{live}/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    for address in loaded:
        assert address.startswith("/"), address
        assert httpx.get(f"{live}{address}").status_code == 200
    for address in ("/docs/x", "/docs/..%2fapi.py", "/docs/%2e%2e"):
        assert httpx.get(f"{live}{address}").status_code == 404


@pytest.mark.parametrize("cases", [QUICK, pytest.param(THOROUGH, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_no_case_gets_a_500_or_a_status_that_is_not_declared(
    live: str, token: str, document: dict[str, Any], cases: int
) -> None:
    statuses: Counter[int] = Counter()
    scan, prediction = make_scan(1), _predicted(live, token)
    _know_media(document, scan)
    load_all_checks()
    served = catalog.names() if cases == THOROUGH else [MODEL]
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "model" and parameter["in"] == "path":
                    parameter["schema"]["enum"] = [one for one in parameter["schema"]["enum"] if one in served] or [
                        MODEL
                    ]
    operations = [one.ok() for one in schemathesis.openapi.from_dict(document).get_all_operations()]
    operations = [one for one in operations if one.path != "/v1/keys/self/rotate"]  # it would lose its key
    own = [one for one in operations if "{model}" in one.path]
    with httpx.Client(base_url=live, headers=bearer(token), timeout=60) as client:
        for operation in operations:
            weight = cases // (2 * len(own)) if operation in own else cases // (4 * len(operations)) + 1
            name = operation.definition.raw["operationId"]
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                count = min(weight, MOST[cases].get(name, weight))
                _run(operation, mode, count, client, prediction, statuses)
    assert sum(statuses.values()) >= 0.8 * cases, statuses
    assert {200, 415, 422} <= statuses.keys(), statuses
    print(sum(statuses.values()), "cases:", sorted(statuses.items()))


def _predicted(router: str, token: str) -> str:
    headers = {"Content-Type": "application/gzip", **bearer(token)}
    answer = httpx.post(f"{router}/v1/models/{MODEL}/predict", content=make_scan(1), headers=headers)
    return str(answer.headers["x-prediction-id"])


def _know_media(document: dict[str, Any], scan: bytes) -> None:
    """What to send as a picture or a scan: anything, and half of the time something that nearly is one."""
    files = st.one_of(st.binary(max_size=200), st.sampled_from([scan, scan[:200], scan[:-9], b"\xff\xd8\xff\xe0"]))
    named = {
        media
        for methods in document["paths"].values()
        for operation in methods.values()
        for media in operation.get("requestBody", {}).get("content", {})
    }
    for media in named - {"application/json", "multipart/form-data"}:
        schemathesis.openapi.media_type(media, files)


def _run(
    operation: Any, mode: GenerationMode, count: int, client: httpx.Client, prediction: str, statuses: Counter[int]
) -> None:
    """Sends `count` cases and compares each answer with the document."""
    declared = {int(status) for status in operation.definition.raw["responses"]}

    @hypothesis.settings(
        max_examples=max(count, 1),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode), known_id=st.booleans())
    def send(case: Any, known_id: bool) -> None:
        if known_id and "prediction_id" in (case.path_parameters or {}):
            case.path_parameters["prediction_id"] = prediction
        response = case.call(base_url=str(client.base_url).rstrip("/"), headers=dict(client.headers), timeout=60)
        statuses[response.status_code] += 1
        # What is malformed below the document (a path of another form, say) may be refused without being declared.
        assert response.status_code in declared | {404, 405}, (response.status_code, case.as_curl_command())
        assert response.status_code != 500, case.as_curl_command()
        if response.status_code in declared:
            case.validate_response(
                response,
                checks=[
                    openapi_checks.content_type_conformance,
                    openapi_checks.response_headers_conformance,
                    openapi_checks.response_schema_conformance,
                ],
            )

    # Nothing about an operation that takes no parameters can be wrong.
    with contextlib.suppress(hypothesis.errors.Unsatisfiable):
        send()
