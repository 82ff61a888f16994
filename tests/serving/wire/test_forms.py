"""Parts of a form as other people's libraries name them."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from registry.core.errors import BadInput
from serving.wire.admission import UploadBudget
from serving.wire.uploads import Limits, read_upload

BIG = bytes(range(256)) * 400  # 100 KiB, more than a text field may have


def read(disposition: str, content: bytes) -> tuple[object, ...]:
    """What is taken from a form of one part."""
    head = f"--b\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
    body = head.encode() + content + b"\r\n--b--\r\n"
    headers = [(b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", str(len(body)).encode())]

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def ask() -> tuple[object, ...]:
        request = Request({"type": "http", "method": "POST", "headers": headers, "path": "/predict"}, receive)
        with UploadBudget(1 << 24).reserve() as held:
            return (await read_upload(request, ("image/jpeg",), Limits(1 << 24, 4), held)).inputs

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "named",
    [
        'filename="scan.nii"',
        "filename*=UTF-8''%C3%BCber.nii",
        "FileName*=utf-8'de'a.nii",
        "filename=\"a.nii\"; filename*=UTF-8''%C3%BC.nii",
    ],
)
def test_a_part_with_any_kind_of_file_name_is_a_file(named: str) -> None:
    assert read(f'name="file"; {named}', BIG) == (BIG,)


def test_a_part_without_a_file_name_is_told_what_it_lacks() -> None:
    with pytest.raises(BadInput) as caught:
        read('name="file"', BIG)
    assert "no file name" in caught.value.found
    assert "filename" in caught.value.expected
