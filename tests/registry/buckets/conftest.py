"""Credentials and addresses of tests, and nothing of the person's own that leads elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.buckets import regions
from registry.core.settings import settings
from tests.s3_server import OWNER, REGION


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    values = {
        "AWS_ACCESS_KEY_ID": OWNER.id, "AWS_SECRET_ACCESS_KEY": OWNER.secret, "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true", "VISIONLOOP_VAR": str(tmp_path / "var"),
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    regions._check.cache_clear()
    yield
    settings.cache_clear()
    regions._check.cache_clear()
