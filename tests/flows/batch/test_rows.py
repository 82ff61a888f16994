"""Every picture is one row: what stands in it, and what stands there of a picture that cannot be read."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from flows.batch.slices import process_slice
from flows.batch.sources import open_source
from flows.batch.work import FEATURES, Work
from registry.core.errors import BadInput
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor
from tests.flows.batch import feature_bundle
from tests.flows.batch.running import draw, rejects, rows, run


def test_every_picture_is_one_row_in_the_order_of_paths(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    (pictures / "notes.txt").write_text("not a picture")
    (pictures / ".hidden").mkdir()
    draw(pictures / ".hidden" / "x.png", 1)
    done = run(pictures, tmp_path / "out", bundle, workers=2)
    assert (done.pictures, done.done, done.rejected, done.others, done.parts) == (100, 100, 0, 1, 4)
    table = rows(tmp_path / "out")
    assert table.schema.equals(Work(FEATURES, "any").schema())
    paths = table["path"].to_pylist()
    assert paths == sorted(paths)
    assert len(set(paths)) == 100
    labels = dict(zip(paths, table["label"].to_pylist(), strict=True))
    assert labels["apple/red/000.jpg"] == "red"
    assert labels["pear/001.png"] == "pear"
    assert labels["002.jpg"] is None
    assert set(table["version"].to_pylist()) == {"fruit_features@1"}
    assert not (tmp_path / "out" / "rejects").exists()


def test_a_row_is_what_the_service_would_answer(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    run(pictures, tmp_path / "out", bundle)
    predictor = Predictor(bundle, threads=1)
    for row in rows(tmp_path / "out").to_pylist()[::17]:
        single = predictor((pictures / row["path"]).read_bytes())
        assert row["class"] == single.result.name
        np.testing.assert_allclose(row["probability"], single.result.probability, rtol=1e-5)
        np.testing.assert_allclose(row["features"], single.embedding, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(row["pca"], single.result.pca, rtol=1e-4, atol=1e-5)


def test_pandas_and_arrow_read_the_folder_as_one_table(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    import pandas as pd

    run(pictures, tmp_path / "out", bundle)
    frame = pd.read_parquet(tmp_path / "out" / "rows")
    assert len(frame) == 100
    assert frame["features"].map(len).eq(feature_bundle.FEATURES).all()


def test_workers_share_the_parts_and_only_whole_slices_are_written(
    pictures: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of workers gives the same table."""
    threads: set[str] = set()
    both = threading.Barrier(2, timeout=30)

    def first_of_each(done: int, total: int, note: str) -> None:
        if threading.current_thread() is threading.main_thread():
            return
        if threading.current_thread().name not in threads:
            threads.add(threading.current_thread().name)
            both.wait()

    run(pictures, tmp_path / "two", bundle, workers=2, on_progress=first_of_each)
    run(pictures, tmp_path / "one", bundle, workers=1)
    assert len(threads) == 2
    assert rows(tmp_path / "two").equals(rows(tmp_path / "one"))


def test_unreadable_pictures_become_rejects_that_say_why(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    whole = (pictures / "pear/001.png").read_bytes()
    (pictures / "a-truncated.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "b-empty.jpg").write_bytes(b"")
    (pictures / "c-text.jpg").write_text("<html>not found</html>")
    (pictures / "d-directory.jpg").mkdir()
    os.mkfifo(pictures / "e-pipe.jpg")
    (pictures / "f-gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    strange = os.fsdecode(os.fsencode(str(pictures)) + b"/g-\xff.png")
    Path(strange).write_bytes(whole)
    done = run(pictures, tmp_path / "out", bundle, batch=8)
    assert (done.pictures, done.rejected) == (104, 3)
    found = rejects(tmp_path / "out")
    assert sorted(found) == ["a-truncated.png", "b-empty.jpg", "c-text.jpg"]
    assert all(found.values())
    read = rows(tmp_path / "out")["path"].to_pylist()
    assert len(set(read)) == len(read) == 101
    assert "g-\\xff.png" in read


def test_a_file_that_is_too_large_is_not_read(pictures: Path, bundle: Bundle) -> None:
    source = open_source(str(pictures), most_bytes=10)
    items = source.find((".jpg",)).items[:2]
    table, bad = process_slice(Predictor(bundle, threads=1), source, items, Work(FEATURES, "v"))
    assert (table.num_rows, bad.num_rows) == (0, 2)
    assert all("allowed" in reason for reason in bad["reason"].to_pylist())


def test_an_empty_folder_and_no_folder_are_told_apart(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.md").write_text("")
    with pytest.raises(BadInput, match="only 1 other files"):
        run(tmp_path / "empty", tmp_path / "out", bundle)
    with pytest.raises(BadInput, match="there is no folder"):
        run(tmp_path / "nowhere", tmp_path / "out", bundle)
    with pytest.raises(BadInput, match="another kind"):
        run("gs://bucket/x", tmp_path / "out", bundle)
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_is_refused(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        run(pictures, tmp_path / "out", bundle)
