"""`max_upload_mb` counts the bytes of a body, whatever holds them and whichever way they come."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from registry.contract import catalog
from registry.core.settings import settings
from serving.launchers.router import create_app
from tests.detector_bundle import make_detector_bundle
from tests.serving.local_api import answering
from tests.serving.raw import listening
from tests.serving.stubs import Stub, released

MODEL = "object_detection"
LIMIT = 1 << 20


@pytest.fixture(scope="module")
def addresses(project: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where to predict: at a service that takes 1 MiB, and at the router in front of it."""
    spec = catalog.get(MODEL)
    bundle = make_detector_bundle(tmp_path_factory.mktemp("limit") / "bundle", spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_MAX_UPLOAD_MB", "1")
        settings.cache_clear()
        stub = Stub()
        with answering(spec, bundle.path) as (service, _), listening(create_app(), lifespan="on") as router:
            stub.url = service
            with released(router, MODEL, stub):
                yield {"directly": f"{service}/predict", "by the router": f"{router}/v1/models/{MODEL}/predict"}
    settings.cache_clear()


def sized(kind: str, size: int) -> bytes:
    if kind == "image/jpeg":
        return bytes(size)
    return (b'{"input": "%s"}' % (b"AAAA" * (LIMIT // 4 - 10))).ljust(size)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("kind", ["image/jpeg", "application/json"])
@pytest.mark.parametrize("way", ["directly", "by the router"])
def test_a_body_may_be_as_large_as_the_setting_and_not_a_byte_larger(
    addresses: dict[str, str], way: str, kind: str, declared: bool
) -> None:
    for size, status in ((LIMIT, 422), (LIMIT + 1, 413)):  # 422: it is read, and is no picture
        body = sized(kind, size)
        answer = httpx.post(
            addresses[way], content=body if declared else iter([body]), headers={"Content-Type": kind}, timeout=30
        )
        assert answer.status_code == status, answer.text
    assert answer.json()["expected"] == "at most 1,048,576 bytes (1 MiB)"
