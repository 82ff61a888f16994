"""A stream played over HTTP: predicted, logged, labelled, judged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flows.demo import stream
from monitoring.log.writer import PredictionLog
from monitoring.report import watch
from registry.contract import catalog
from registry.core import journal
from registry.core.errors import MissingService
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor
from serving.releases.deploy import free_port
from tests.bundles import MODEL, make_tiny_bundle
from tests.monitoring.conftest import home as home
from tests.monitoring.conftest import make_record
from tests.monitoring.conftest import operational as operational
from tests.waiting import until


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def service(operational: Path, bundle: Bundle) -> Iterator[str]:
    """A real HTTP server with a real predictor and a real log; the first request finds it not ready yet."""
    predictor, log, calls = Predictor(bundle, threads=1), PredictionLog("service"), iter(range(10**6))

    async def predict(request: Request) -> Response:
        if next(calls) == 0:
            return JSONResponse({}, 503, {"Retry-After": "0"})
        body = await request.body()
        one = predictor(body)
        record = make_record(
            image_statistics=one.image_statistics,
            prediction_statistics=one.prediction_statistics,
            embedding=one.embedding,
        )
        log.record(record, body)
        about = {"id": record.id, "model": MODEL, "version": 1, "role": "live", "elapsed_ms": 1.0, "timings_ms": {}}
        return JSONResponse({**about, **one.result.to_json()})

    app = Starlette(routes=[Route(f"/v1/models/{MODEL}/predict", predict, methods=["POST"])])
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    log.start()
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    log.close()


def test_a_shifted_labelled_stream_is_logged_and_drifts(service: str, bundle: Bundle) -> None:
    how = next(iter(catalog.get(MODEL).shift.HOW))
    ids = stream.play(MODEL, how, 0.8, 18, seed=5, address=service, label=True)
    assert len(set(ids)) == 18
    verdict = watch.make_verdict(MODEL, 1, bundle)
    assert verdict.drifted
    assert verdict.labels == 18
    lines, _ = journal.read()
    assert [line["done"] for line in lines if line["kind"] == "progress"] == list(range(1, 19))


def test_a_proxy_of_the_environment_is_not_asked(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert len(stream.play(MODEL, None, 0.5, 1, seed=3, address=service)) == 1


def test_the_same_seed_plays_the_same_inputs(service: str) -> None:
    from monitoring.log.models import Prediction

    ids = [stream.play(MODEL, None, 0.5, 2, seed=9, address=service)[1] for _ in range(2)]
    until(lambda: Prediction.objects.filter(id__in=ids).count() == 2)
    first, second = (Prediction.objects.get(id=number).image_statistics for number in ids)
    assert first == second


def test_where_no_router_answers_it_says_what_to_do(home: Path) -> None:
    with pytest.raises(MissingService, match="visionloop up"):
        stream.play(MODEL, "noise", 0.5, 3, 0, "http://127.0.0.1:9")
