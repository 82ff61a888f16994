"""A folder or a bucket becomes Parquet: every picture one row, however often the run is interrupted."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.batch import plan
from flows.batch.plan import Output, Plan
from flows.batch.slices import featurize_slice, schema
from flows.batch.sources import Folder, Item, Listing, open_source
from flows.featurize import Summary, Work, featurize
from registry import files
from registry.bundle import Bundle
from registry.errors import BadInput, MissingService, Refused, StorageError
from registry.predictor import Predictor
from tests.flows.feature_bundle import FEATURES, make_feature_bundle, version_of
from tests.flows.s3_server import serve_buckets

PROJECT = Path(__file__).resolve().parents[2]
MOST = 10_000_000


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_feature_bundle(tmp_path_factory.mktemp("features") / "bundle")


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(pixels, (64, 48), interpolation=cv2.INTER_NEAREST))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """100 pictures in two folders and beside them: four parts of 32."""
    root = tmp_path / "pictures"
    for n in range(100):
        folder = ("apple/red", "pear", "")[n % 3]
        draw(root / folder / f"{n:03d}.{('jpg', 'png')[n % 2]}", n)
    return root


def run(where: object, out: Path, bundle: Bundle, number: int = 1, **options: object) -> Summary:
    return featurize(str(where), out, version_of(bundle, number), bundle.path, **options)  # type: ignore[arg-type]


def rows(out: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(out.glob("*.parquet"))])


def test_every_picture_is_one_row_in_the_order_of_paths(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    (pictures / "notes.txt").write_text("not a picture")
    (pictures / ".hidden").mkdir()
    draw(pictures / ".hidden" / "x.png", 1)
    done = run(pictures, tmp_path / "out", bundle, workers=2)
    assert (done.pictures, done.done, done.unreadable, done.others, done.parts) == (100, 100, 0, 1, 4)
    table = rows(tmp_path / "out")
    assert table.schema.equals(schema())
    paths = table["path"].to_pylist()
    assert paths == sorted(paths)
    assert len(set(paths)) == 100
    labels = dict(zip(paths, table["label"].to_pylist(), strict=True))
    assert labels["apple/red/000.jpg"] == "red"
    assert labels["pear/001.png"] == "pear"
    assert labels["002.jpg"] is None
    assert set(table["version"].to_pylist()) == {"fruit_features@1"}
    assert table["error"].null_count == 100


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
    frame = pd.read_parquet(tmp_path / "out")
    assert len(frame) == 100
    assert frame["features"].map(len).eq(FEATURES).all()


def test_a_second_run_does_nothing_and_a_missing_part_is_made_again(
    pictures: Path, tmp_path: Path, bundle: Bundle
) -> None:
    out = tmp_path / "out"
    run(pictures, out, bundle)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    seen: list[Work] = []
    done = run(pictures, out, bundle, begins=seen.append)
    assert (done.done, seen[0].left) == (0, 0)
    assert before == {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    whole = rows(out)
    (out / "part-00002.parquet").unlink()
    assert run(pictures, out, bundle).done == 32
    assert rows(out).equals(whole)


def test_unreadable_pictures_become_rows_that_say_why(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
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
    assert (done.pictures, done.unreadable) == (104, 3)
    found = {row["path"]: row for row in rows(tmp_path / "out").to_pylist()}
    for name in ("a-truncated.png", "b-empty.jpg", "c-text.jpg"):
        row = found[name]
        assert row["error"]
        assert row["features"] is row["pca"] is row["class"] is row["probability"] is None
    assert "g-\\xff.png" in found
    assert found["g-\\xff.png"]["error"] is None
    assert sum(row["error"] is None for row in found.values()) == 101


def test_a_file_that_is_too_large_is_not_read(pictures: Path, bundle: Bundle) -> None:
    source = open_source(str(pictures), most_bytes=10)
    items = source.find((".jpg",)).items[:2]
    table = featurize_slice(Predictor(bundle, threads=1), source, items, "v")
    assert all("allowed" in error for error in table["error"].to_pylist())


def test_a_killed_run_loses_no_whole_part_and_the_next_finishes(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    for n in range(100, 1500):
        draw(pictures / "more" / f"{n}.png", n)
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from registry.bundle import open_bundle; "
        "from tests.flows.feature_bundle import version_of; from flows.featurize import featurize; "
        "b = open_bundle(Path(sys.argv[2])); featurize(sys.argv[1], Path(sys.argv[3]), version_of(b), b.path)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(pictures), str(bundle.path), str(out)], cwd=PROJECT)
    deadline = time.monotonic() + 60
    while len(list(out.glob("part-*.parquet"))) < 2:
        assert time.monotonic() < deadline
        assert child.poll() is None, "it was over before it could be killed"
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=20)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}
    assert 2 <= len(kept) < 16
    done = run(pictures, out, bundle)
    assert done.done == 1500 - sum(pq.read_metadata(path).num_rows for path in kept)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert len(set(rows(out)["path"].to_pylist())) == 1500
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("change", ["version", "digest", "listing", "source"])
def test_another_version_or_listing_is_refused_until_fresh(
    change: str, pictures: Path, tmp_path: Path, bundle: Bundle
) -> None:
    out = tmp_path / "out"
    run(pictures, out, bundle)
    before = rows(out)
    number, where, other = 1, pictures, bundle
    if change == "version":
        number = 2
    elif change == "digest":
        other = make_feature_bundle(tmp_path / "other", seed=1)
    elif change == "listing":
        draw(pictures / "pear" / "new.png", 5)
    else:
        where = pictures / "pear"
    with pytest.raises(Refused) as caught:
        run(where, out, other, number)
    assert "--fresh" in caught.value.mend
    assert rows(out).equals(before), "a refusal must leave everything as it is"
    done = run(where, out, other, number, fresh=True)
    assert done.done == done.pictures == rows(out).num_rows


def test_files_of_somebody_else_are_never_touched(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    out = tmp_path / "out"
    out.mkdir()
    pq.write_table(pa.table({"mine": [1]}), out / "part-00000.parquet")
    for fresh in (False, True):
        with pytest.raises(Refused, match="no run of this command"):
            run(pictures, out, bundle, fresh=fresh)
    assert pq.read_table(out / "part-00000.parquet").column_names == ["mine"]


def test_two_runs_do_not_write_to_one_folder(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    with Output(tmp_path / "out").owned(), pytest.raises(Refused, match="another run"):
        run(pictures, tmp_path / "out", bundle)


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


def test_a_full_disk_keeps_whole_parts_and_names_the_folder(
    pictures: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, renamed = tmp_path / "out", []
    real = os.replace

    def full_after_two(source: str, target: Path) -> None:
        if Path(target).suffix == ".parquet":
            renamed.append(target)
            if len(renamed) > 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(files.os, "replace", full_after_two)
    with pytest.raises(StorageError, match="the disk is full"):
        run(pictures, out, bundle, workers=1)
    monkeypatch.undo()
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith("_")) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert run(pictures, out, bundle).done == 36


def test_workers_share_the_parts_and_only_whole_slices_are_written(
    pictures: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of workers gives the same table."""
    threads: set[str] = set()
    both = threading.Barrier(2, timeout=30)

    def first_of_each(pictures: int, errors: int) -> None:
        if threading.current_thread().name not in threads:
            threads.add(threading.current_thread().name)
            both.wait()

    run(pictures, tmp_path / "two", bundle, workers=2, told=first_of_each)
    run(pictures, tmp_path / "one", bundle, workers=1)
    assert len(threads) == 2
    assert rows(tmp_path / "two").equals(rows(tmp_path / "one"))


@pytest.mark.parametrize(("count", "part", "parts"), [(1, 32, 1), (512, 32, 16), (513, 64, 9), (100_000, 1024, 98)])
def test_parts_are_enough_to_share_and_never_huge(count: int, part: int, parts: int) -> None:
    items = tuple(Item(f"{n:06d}.jpg", 1, "") for n in range(count))
    made = Plan.of("s", "v", "d", Listing(items, 0))
    assert (made.part, made.parts) == (part, parts)
    assert [x for n in range(made.parts) for x in made.slice(items, n)] == list(items)


def test_a_damaged_plan_is_not_taken_for_ours(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    out = tmp_path / "out"
    run(pictures, out, bundle)
    (out / plan.PLAN).write_text("{")
    with pytest.raises(Refused):
        run(pictures, out, bundle)


# --- S3


@pytest.fixture
def bucket(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The pictures as s3://shop/fruit/..., behind credentials; pages of 7 keys."""
    root = tmp_path / "buckets"
    (root / "shop").mkdir(parents=True)
    pictures.rename(root / "shop" / "fruit")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with serve_buckets(root) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield root / "shop"


def test_a_bucket_gives_the_same_table_as_the_folder(bucket: Path, tmp_path: Path, bundle: Bundle) -> None:
    (bucket / "fruit" / "bad.jpg").write_bytes(b"\xff\xd8 no more")
    (bucket / "fruits-of-others").mkdir()
    draw(bucket / "fruits-of-others" / "x.png", 1)  # the prefix is a folder's name, not the beginning of one
    done = run("s3://shop/fruit", tmp_path / "cloud", bundle)
    assert (done.pictures, done.unreadable) == (101, 1)
    run(bucket / "fruit", tmp_path / "disk", bundle)
    assert rows(tmp_path / "cloud").equals(rows(tmp_path / "disk"))
    assert run("s3://shop/fruit/", tmp_path / "cloud", bundle).done == 0
    draw(bucket / "fruit" / "pear" / "001.png", 77)  # the same name, other content
    with pytest.raises(Refused, match="have changed"):
        run("s3://shop/fruit", tmp_path / "cloud", bundle)


def test_an_object_that_goes_away_becomes_a_row(bucket: Path, tmp_path: Path, bundle: Bundle) -> None:
    source = open_source("s3://shop/fruit", MOST)
    items = source.find((".png", ".jpg")).items
    (bucket / "fruit" / items[3].path).unlink()
    table = featurize_slice(Predictor(bundle, threads=1), source, items[:5], "v")
    assert [error is None for error in table["error"].to_pylist()] == [True, True, True, False, True]
    single = featurize_slice(Predictor(bundle, threads=1), source, items[3:4], "v")
    assert "cannot be read" in single["error"][0].as_py()


def test_what_is_wrong_with_a_bucket_is_said(
    bucket: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="no picture in s3://shop/none"):
        run("s3://shop/none", tmp_path / "out", bundle)
    with pytest.raises(BadInput, match="there is no bucket other"):
        run("s3://other/x", tmp_path / "out", bundle)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(MissingService, match="may not be listed") as caught:
        run("s3://shop/fruit", tmp_path / "out", bundle)
    assert "AWS_ACCESS_KEY_ID" in caught.value.mend
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(MissingService, match="does not answer"):
        run("s3://shop/fruit", tmp_path / "out", bundle)


def test_an_open_bucket_needs_no_credentials(
    bucket: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with serve_buckets(bucket.parent, open_to_all=True) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert run("s3://shop/fruit", tmp_path / "out", bundle).done == 100


# --- the command


def test_the_command_fetches_the_champion_and_says_what_it_did(pictures: Path, workspace: Path, bundle: Bundle) -> None:
    """No version, then one, then nothing left to do, then a model that makes no features; in one process, because
    each would begin with importing MLflow."""
    (pictures / "bad.png").write_bytes(b"no")
    out = workspace / "features"
    code = f"""
import sys
from flows.cli import _run

def visionloop(*more):
    print("exit", _run(["featurize", {str(pictures)!r}, "--out", {str(out)!r}, "--local", *more]), flush=True)

visionloop()
from pathlib import Path
from registry.bundle import open_bundle
from registry.versions import Versions
versions = Versions()
versions.promote(versions.register(open_bundle(Path({str(bundle.path)!r}))))
visionloop()
visionloop()
visionloop("--model", "skin_segmentation")
"""
    environment = dict(os.environ, PYTHONPATH=str(PROJECT))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=200, check=False, env=environment, cwd=workspace,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[0] == "exit 4", done.stderr
    assert lines[1].startswith("101 pictures with fruit_features@1 in ")
    assert lines[2] == "exit 0"
    assert lines[3] == f"nothing to do: {out} holds all 101 pictures of fruit_features@1"
    assert lines[4:] == ["exit 0", "exit 4"]
    assert "`visionloop run fruit_features`" in done.stderr
    assert "1 could not be read: see the column `error`" in done.stderr
    assert json.loads((out / plan.PLAN).read_text())["pictures"] == 101


def test_a_listing_is_the_same_until_a_picture_changes(pictures: Path) -> None:
    source = Folder(pictures, MOST)
    first, second = source.find((".jpg", ".png")), source.find((".jpg", ".png"))
    assert first.digest == second.digest
    assert first.items == tuple(sorted(first.items))
    draw(pictures / "one-more.png", 3)
    assert source.find((".jpg", ".png")).digest != first.digest
