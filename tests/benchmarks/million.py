"""What a full prediction log costs: `python -m tests.benchmarks.million [--rows 1000000] [--engine sqlite|postgresql]`.

It fills the tables of a temporary database, then times what the back office, the gallery, the API, the monitor and
retention ask of them, through the functions that these call.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from registry.contract import catalog
from tests import clusters
from tests.databases import database_at
from tests.flows.conftest import own_settings

DAYS, REPEATS, AT_ONCE = 90, 5, 2000
VERSIONS, CALLERS = 5, 40


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(own_settings(folder))
        url = f"sqlite:///{folder / 'log.db'}"
        if asked.engine == "postgresql":
            url = stack.enter_context(clusters.running()).make("million")
        stack.enter_context(database_at(url))
        began = time.monotonic()
        fill(asked.rows)
        print(
            f"{asked.engine}: {asked.rows:,} rows in {time.monotonic() - began:.0f} s, {size_mb(folder):,.0f} MB",
            flush=True,
        )
        print("| question | median ms | worst ms |\n|---|---|---|")
        for name, question in questions():
            taken = sorted(1e3 * timed(question) for _ in range(REPEATS))
            print(f"| {name} | {statistics.median(taken):.1f} | {taken[-1]:.1f} |", flush=True)


def fill(rows: int) -> None:
    """Six models, five versions of each, forty callers, ninety days; one in five hundred has a label."""
    from django.db import connection

    from monitoring.log import answers
    from monitoring.log.models import Answer, Feedback, Prediction

    rng = np.random.default_rng(0)
    names, now = sorted(catalog.names()), datetime.now(UTC)
    packed, embedding = answers.pack({"classes": ["x"], "scores": rng.random(12).tolist()}) or b"", rng.bytes(160 * 2)
    like_one = rng.bytes(
        len(answers.seal("x", packed))
    )  # encrypting a million takes half a minute, and changes no query
    for first in range(0, rows, AT_ONCE):
        made = []
        for number in range(first, min(first + AT_ONCE, rows)):
            back = timedelta(days=DAYS * (1 - number / rows))
            failed = number % 97 == 0
            made.append(
                Prediction(
                    id=uuid.uuid4().hex,
                    time=now - back,
                    model=names[number % len(names)],
                    version=1 + number * VERSIONS // rows,
                    role="canary" if number % 20 == 0 else "live",
                    caller=f"vl_{number % CALLERS:012x}",
                    latency_ms=float(rng.gamma(2.0, 8.0)),
                    outcome="BadInput" if failed else "ok",
                    status=400 if failed else 200,
                    image_statistics={f"statistic_{n}": float(v) for n, v in enumerate(rng.random(10))},
                    prediction_statistics={f"p_class_{n}": float(v) for n, v in enumerate(rng.random(7))},
                    embedding=embedding,
                    input_suffix=".jpg",
                )
            )
        Prediction.objects.bulk_create(made)
        read = first >= rows - 10 * AT_ONCE  # by the questions
        Answer.objects.bulk_create(
            Answer(
                prediction_id=one.id,
                time=one.time,
                size=len(like_one),
                content="",
                sealed=answers.seal(one.id, packed) if read else like_one,
            )
            for one in made
        )
        Feedback.objects.bulk_create(
            Feedback(
                prediction_id=one.id, time=one.time + timedelta(hours=1), source="a person", truth_text="x", score=1.0
            )
            for one in made[::500]
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def size_mb(folder: Path) -> float:
    from django.db import connection

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return float(cursor.fetchone()[0]) / 1e6
    return sum(path.stat().st_size for path in folder.glob("log.db*")) / 1e6


def timed(question: Callable[[], object]) -> float:
    began = time.perf_counter()
    question()
    return time.perf_counter() - began


def questions() -> Iterator[tuple[str, Callable[[], object]]]:
    from monitoring.drift.due import pending_reason
    from monitoring.drift.tables import read_window
    from monitoring.log import retention
    from monitoring.log.models import Prediction
    from serving.api import history
    from serving.api.history import Filters
    from serving.gallery import cards
    from serving.lists.every import ALL
    from serving.operations import series

    model, listing = "object_detection", ALL["predictions"]
    some = Prediction.objects.order_by("time")[1000]
    searches: dict[str, dict[str, str]] = {
        "newest": {},
        "page 200": {"page": "200"},
        "of a model": {"model": model},
        "of a role": {"role": "canary"},
        "errors": {"outcome": "error"},
        "over 1 s": {"latency": "1000"},
        "errors of a model over 1 s": {"outcome": "error", "model": model, "latency": "1000"},
        "of a day": {"from": f"{some.time:%Y-%m-%d}", "to": f"{some.time:%Y-%m-%d}"},
        "by an id": {"q": some.id},
        "by a key": {"q": "vl_000000000007"},
    }
    for name, asked in searches.items():
        yield f"list of predictions: {name}", lambda asked=asked: listing.page(asked)  # type: ignore[misc]
    yield "its CSV, first 1,000 lines", lambda: list(islice(listing.lines({}), 1000))
    for span in series.SPANS:
        yield f"charts of a {span}, all models", lambda span=span: series.charts(span)  # type: ignore[misc]
        yield f"charts of a {span}, one model", lambda span=span: series.charts(span, model)  # type: ignore[misc]
    yield "gallery: typical time of a model", lambda: cards._typical_ms(model, VERSIONS, None)
    yield "monitor: a window", lambda: read_window(model, VERSIONS)
    yield "monitor: whether a verdict is due", lambda: pending_reason(model, VERSIONS)
    filters = Filters.read(model, "", "", "", "failed", "")
    yield "API: a caller's own newest", lambda: history.page(Filters.read(*[""] * 6), "vl_000000000007", None, None, 50)
    yield "API: a caller's own, failed, of a model", lambda: history.page(filters, "vl_000000000007", None, None, 50)
    yield "retention: nothing to delete", lambda: retention._prune_rows(datetime.now(UTC) - timedelta(days=2 * DAYS))
    yield "retention: 1/5 of a day to delete", _retention_of_a_day()


def _retention_of_a_day() -> Callable[[], Any]:
    from monitoring.log import retention

    now = [datetime.now(UTC)]

    def delete() -> None:
        now[0] += timedelta(days=0.2)
        retention._prune_rows(now[0])

    return delete


if __name__ == "__main__":
    main()
