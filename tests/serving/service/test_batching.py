"""What waits for the network goes through it together, and what does not wait, alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from registry.contract import catalog
from registry.core.errors import BadInput
from registry.core.media import FloatArray
from registry.versions import predictor
from registry.versions.predictor import Predictor
from registry.vision.picture import to_jpeg
from serving.service import batching
from serving.service.batching import SIZES, Batcher, BatchingPredictor, BatchPace, seconds_per_element
from tests.clips import scene
from tests.detector_bundle import make_detector_bundle
from tests.waiting import until


class Network:
    """Doubles its input; takes `seconds` and notes the sizes that it was called with."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.sizes: list[int] = []
        self.seconds = seconds
        self.running = 0

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        self.running += 1
        assert self.running == 1, "one batch at a time"
        self.sizes.append(len(batch))
        time.sleep(self.seconds)
        self.running -= 1
        if (batch < 0).any():
            raise BadInput("negative")
        return {"twice": 2 * batch, "sum": batch.sum(axis=(1, 2, 3))}


def element(value: float) -> FloatArray:
    return np.full((1, 1, 2, 2), value, np.float32)


def test_one_caller_never_waits_for_company() -> None:
    network = Network(0.001)
    batcher = Batcher(network)
    for n in range(20):
        np.testing.assert_array_equal(batcher(element(n))["twice"], element(2 * n))
    assert network.sizes == [1] * 20


def test_those_who_wait_go_together_and_everyone_gets_their_own() -> None:
    network, sizes = Network(), list[int]()
    batcher = Batcher(network, sizes.append)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: batcher(element(n)), range(200)))
    for n, outputs in enumerate(found):
        np.testing.assert_array_equal(outputs["twice"], element(2 * n))
        np.testing.assert_array_equal(outputs["sum"], [4 * n])
    assert sum(network.sizes) == 200
    assert len(network.sizes) < 100
    assert set(network.sizes) <= set(SIZES)
    assert sizes == network.sizes


def test_an_error_reaches_everyone_in_the_batch_and_the_next_batch_runs() -> None:
    network, free = Network(), threading.Event()

    def held(size: int) -> None:
        free.wait(60)

    batcher = Batcher(network, held)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher, element(1))
        until(lambda: batcher._running)
        bad = [pool.submit(batcher, element(value)) for value in (-1, 2)]
        until(lambda: len(batcher._line) == 2)
        free.set()
        assert first.result(5)["sum"] == [4]
        errors = [one.exception(5) for one in bad]
    assert {type(one) for one in errors} == {BadInput}
    assert len({id(one) for one in errors}) == len(errors), "each call notes its own id on its error"
    assert len({str(one) for one in errors}) == 1
    assert batcher(element(3))["sum"] == [12]


def test_a_network_that_gains_nothing_by_batches_gets_none() -> None:
    pace = BatchPace()
    for _ in range(5):
        for size in SIZES:
            pace.record(size, 0.01 * size * (1.0 if size == 1 else 1.2))
    assert [pace.best(waiting) for waiting in (1, 2, 5, 8, 30)] == [1] * 5


def test_the_quickest_size_is_found_and_a_change_is_noticed() -> None:
    pace = BatchPace()
    cost = {1: 1.0, 2: 0.8, 4: 0.5, 8: 0.7}
    for _ in range(40):
        size = pace.best(8)
        pace.record(size, size * cost[size])
    assert pace.best(8) == 4
    assert pace.best(3) == 2
    cost[8] = 0.2
    for _ in range(2000):
        size = pace.best(8)
        pace.record(size, size * cost[size])
    assert pace.best(8) == 8


def test_the_first_run_of_a_size_does_not_count() -> None:
    pace = BatchPace()
    for n in range(4):
        for size in SIZES:
            pace.record(size, size * (100.0 if n == 0 and size == 8 else 1.0 / size))
    assert pace.best(8) == 8


class Clock:
    """Stands for `time.perf_counter`: what was said last is when the calls of now began."""

    def __init__(self) -> None:
        self.now = self.began = 0.0

    def __call__(self) -> float:
        self.began = self.now
        return self.now


class Timed:
    """A network that takes so long for a call and for each element; calls at once do not slow each other down."""

    def __init__(self, clock: Clock, call_s: float, each_s: float) -> None:
        self._clock, self._call_s, self._each_s = clock, call_s, each_s

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        self._clock.now = max(self._clock.now, self._clock.began + self._call_s + self._each_s * len(batch))
        return {"same": batch}


class Watched:
    """A network that notes when its calls began and ended. They wait for each other: side by side or not at all."""

    def __init__(self, at_once: int) -> None:
        self._together = threading.Barrier(at_once)
        self.times: list[float] = []

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        self.times.append(time.perf_counter())
        self._together.wait(60)
        time.sleep(0.02)
        self.times.append(time.perf_counter())
        return {"same": batch}


@pytest.mark.parametrize(("at_once", "size"), [(1, 1), (1, 8), (4, 1)])
def test_how_long_an_element_takes_is_measured_for_batches_and_side_by_side(at_once: int, size: int) -> None:
    """Between what the calls took and what the measurement took, however busy the machine is."""
    network = Watched(at_once)
    began = time.perf_counter()
    found = seconds_per_element(network, at_once, np.repeat(element(1), size, axis=0))
    took = time.perf_counter() - began
    assert len(network.times) == 2 * at_once
    assert max(network.times) - min(network.times) <= found * at_once * size <= took


@pytest.mark.parametrize("batches_win", [True, False])
def test_several_callers_get_whichever_way_is_quicker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches_win: bool
) -> None:
    bundle = make_detector_bundle(tmp_path / "bundle", catalog.get("object_detection"), work=4)
    sizes = list[int]()
    monkeypatch.setattr(
        batching, "seconds_per_element", lambda network, at_once, batch: 1.0 if (at_once > 1) is batches_win else 0.5
    )
    plain, shared = Predictor(bundle), BatchingPredictor(bundle, 2, on_batch=sizes.append)
    assert shared.choose(shared.compile_per_core()) is not batches_win
    pictures = [to_jpeg(scene(n, 160, 120)) for n in range(60)]
    expected = [plain(body).result.to_json() for body in pictures]
    assert shared(pictures[0]).result.to_json() == expected[0]
    with ThreadPoolExecutor(8) as pool:
        assert [one.result.to_json() for one in pool.map(shared, pictures)] == expected
    assert sum(sizes) == 61


@pytest.mark.parametrize(("own_s", "wins"), [(0.005, True), (0.03, False)])
def test_the_quicker_way_is_found_by_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_s: float, wins: bool
) -> None:
    """By a clock of its own: on a busy machine a short sleep may take longer than a long one."""
    clock = Clock()
    own, several = Timed(clock, own_s, 0.0), Timed(clock, 0.02, 0.002)  # batches of 8: 4.5 ms each
    bundle = make_detector_bundle(tmp_path / "bundle", catalog.get("object_detection"), work=4)
    assert BatchingPredictor(bundle, 1).choose(own) is False  # one core has nothing side by side
    monkeypatch.setattr(predictor, "open_session", lambda *_: several)
    monkeypatch.setattr(batching, "time", SimpleNamespace(perf_counter=clock, monotonic=time.monotonic))
    assert BatchingPredictor(bundle, 2).choose(own) is wins


@pytest.mark.parametrize("callers", [1, 8])
def test_a_batching_predictor_answers_what_the_predictor_answers(tmp_path: Path, callers: int) -> None:
    bundle = make_detector_bundle(tmp_path / "bundle", catalog.get("object_detection"), work=4)
    sizes: list[int] = []
    plain, shared = Predictor(bundle), BatchingPredictor(bundle, on_batch=sizes.append)
    pictures = [to_jpeg(scene(n, 160, 120)) for n in range(24)]
    start = threading.Barrier(callers)

    def ask(mine: list[bytes]) -> list[dict]:
        start.wait()
        return [shared(body).result.to_json() for body in mine]

    with ThreadPoolExecutor(callers) as pool:
        shares = [pictures[n::callers] for n in range(callers)]
        found = list(pool.map(ask, shares))
    for share, answers in zip(shares, found, strict=True):
        assert answers == [plain(body).result.to_json() for body in share]
    assert sum(sizes) == 24
    assert (max(sizes) > 1) is (callers > 1)
