"""The LitServe part of `tests.benchmarks.rivals`. LitServe's worker process must find the class in a module.

Without `from __future__ import annotations`: LitServe passes the annotation of `decode_request` to FastAPI.
"""

from pathlib import Path
from typing import Any

from fastapi import UploadFile
from litserve import LitAPI

from registry.versions.bundle import open_bundle
from tests.benchmarks.eager import eager


class Api(LitAPI):  # type: ignore[misc]
    """A file in the form's field `request` -> the result as JSON."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def setup(self, device: str) -> None:
        self._predict = eager(open_bundle(self._folder))

    def decode_request(self, request: UploadFile) -> bytes:
        return bytes(request.file.read())

    def predict(self, x: bytes) -> dict[str, Any]:
        return dict(self._predict(x).result.to_json())

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output
