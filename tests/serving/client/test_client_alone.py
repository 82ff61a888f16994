"""The Python client without a server: keys, errors, and what must be copied to have it elsewhere."""

from __future__ import annotations

import json
from inspect import signature
from types import FunctionType
from typing import Any

import httpx
import pytest

from registry.core import errors
from registry.core.errors import BadInput, VisionloopError
from serving.client import account_calls, calls
from serving.client.calls import error_of_response, headers_for
from serving.client.clients import AsyncClient, Client
from serving.client.key_schemas import UsageReport
from serving.client.schemas import Task, read_answers


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("key", ["za\u017c\u00f3\u0142\u0107", "vl_1\r\nX-Admin: yes", "vl_1 2", "vl_\u2026"])
def test_a_key_that_no_header_can_carry_is_an_error_of_ours(client: Any, key: str) -> None:
    with pytest.raises(BadInput, match="characters that no key has") as caught:
        client(key=key)
    assert key not in str(caught.value)


def test_the_line_end_of_a_file_is_no_part_of_a_key() -> None:
    assert headers_for("vl_1\n") == {"Authorization": "Bearer vl_1"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "retry_after_s"),
    [
        (429, {"error": "OverQuota", "found": "used up"}, {"Retry-After": "86400"}, errors.OverQuota, 86400),
        (429, {"error": "Overloaded", "found": "busy"}, {"Retry-After": "2"}, errors.Overloaded, 2),
        (503, {"error": "MissingService", "found": "no version"}, {}, errors.MissingService, None),
        (422, {"error": "BadInput", "found": "empty"}, {}, BadInput, None),
        (502, None, {}, VisionloopError, None),
    ],
)
def test_an_error_carries_its_status_and_when_to_try_again(
    status: int,
    body: dict[str, str] | None,
    headers: dict[str, str],
    kind: type[VisionloopError],
    retry_after_s: int | None,
) -> None:
    content = json.dumps(body).encode() if body else b"<html>Bad Gateway</html>"
    error = error_of_response(httpx.Response(status, content=content, headers=headers))
    assert (type(error), error.status, error.retry_after_s) == (kind, status, retry_after_s)


def test_one_of_several_files_has_a_status_of_its_own() -> None:
    (error,) = read_answers({"results": [{"error": "TooLarge", "found": "big", "status": 413}]})
    assert isinstance(error, errors.TooLarge)
    assert error.status == 413


def test_a_quota_is_nested_as_over_http() -> None:
    days: dict[str, Any] = {"since": "2026-11-01", "until": "2026-11-30", "rows": []}
    quota = {"per_minute": None, "per_month": 1000, "used_this_month": 12}
    found = UsageReport.model_validate({**days, "quota": quota}).quota
    assert found is not None
    assert (found.per_minute, found.per_month, found.used_this_month) == (None, 1000, 12)
    assert UsageReport.model_validate({**days, "quota": None}).quota is None


def test_an_answer_of_something_else_than_the_api_is_an_error_of_ours() -> None:
    request = httpx.Request("GET", "http://127.0.0.1:3000/v1/models")
    for content in (b"<html>It works</html>", b'{"models": 1}', b"[]"):
        with pytest.raises(VisionloopError, match="answered 200, but not as GET /v1/models does") as caught:
            calls.models().result(httpx.Response(200, content=content, request=request))
        assert caught.value.fix


def test_a_field_of_a_newer_api_is_ignored() -> None:
    task = {"id": "1", "model": "m", "state": "queued", "done": 0, "total": 1, "attempts": 0, "priority": 3}
    nothing = dict.fromkeys(("media", "error", "created", "begun", "finished"))
    assert Task.model_validate(task | nothing).state == "queued"


def test_both_clients_have_every_call_with_its_signature_and_text() -> None:
    every = vars(calls) | vars(account_calls)
    names = [name for name in every if isinstance(getattr(Client, name, None), FunctionType)]
    assert {"models", "predict", "submit", "usage"} <= set(names)
    for name in names:
        assert getattr(AsyncClient, name) is getattr(Client, name) is every[name]
        assert every[name].__doc__
        with Client() as client:
            assert signature(getattr(client, name)) == signature(every[name])


def test_parameters_are_sent_as_a_query_has_them() -> None:
    call = calls.predict("object_detection", b"x", score=0.0, classes=["dog", "cat"], version=3, image=True)
    assert call.options["params"] == {"score": "0.0", "classes": "dog,cat", "version": "3", "image": "true"}
    assert calls.submit("object_detection", b"x").options["params"] == {}
