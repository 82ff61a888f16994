"""Where files may come from and parts may go: globs, Parquet with the files' bytes, a bucket."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.batch import output, tables
from flows.batch.sources import open_source
from flows.batch.stores import BucketStore
from registry.core.errors import BadInput, MissingService, Refused
from registry.versions.bundle import Bundle
from tests import s3_server
from tests.flows.batch.running import MOST_BYTES, draw, parts, rejects, rows, run
from tests.s3_server import READER, S3Server


def without(table: pa.Table, *columns: str) -> list[dict[str, object]]:
    return sorted(table.drop_columns(list(columns)).to_pylist(), key=lambda row: row["path"])


def test_a_glob_takes_what_a_shell_would_and_keeps_labels(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    done = run(f"{pictures}/**/*.jpg", tmp_path / "out", bundle)
    expected = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.jpg"))
    found = rows(tmp_path / "out")
    assert found["path"].to_pylist() == expected
    assert done.done == len(expected) == 50
    assert dict(zip(expected, found["label"].to_pylist(), strict=True))["apple/red/000.jpg"] == "red"


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path: Path, bundle: Bundle) -> None:
    draw(tmp_path / "2024[a]" / "x.png", 1)
    assert run(tmp_path / "2024[a]", tmp_path / "out", bundle).done == 1


def write_parquet(pictures: Path, target: Path, column: str) -> None:
    """All pictures as rows; `image.bytes` as Hugging Face writes it."""
    files = sorted(path for path in pictures.rglob("*") if path.is_file())
    names = [path.relative_to(pictures).as_posix() for path in files]
    bodies = [path.read_bytes() for path in files]
    if column == "image.bytes":
        images = [{"bytes": body, "path": name} for body, name in zip(bodies, names, strict=True)]
        table = pa.table({"image": images})
    else:
        table = pa.table({"path": names, column: bodies})
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, target, row_group_size=70)


@pytest.mark.parametrize("column", tables.BYTES)
def test_parquet_with_bytes_gives_the_rows_of_the_files(
    column: str, pictures: Path, tmp_path: Path, bundle: Bundle
) -> None:
    """Also when workers take turns in the row groups, and one part has rows of two of them."""
    (pictures / "bad.png").write_bytes(b"no")
    write_parquet(pictures, tmp_path / "table" / "one.parquet", column)
    run(tmp_path / "table", tmp_path / "from-table", bundle, workers=2)
    run(pictures, tmp_path / "from-files", bundle)
    assert without(rows(tmp_path / "from-table")) == without(rows(tmp_path / "from-files"))
    assert rejects(tmp_path / "from-table") == rejects(tmp_path / "from-files") != {}


def test_parquet_says_what_is_wrong_with_it(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    pq.write_table(pa.table({"picture": [b"x"]}), tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="has the columns picture") as caught:
        run(tmp_path / "other.parquet", tmp_path / "out", bundle)
    assert "content or bytes" in caught.value.expected
    (tmp_path / "text.parquet").write_text("none")
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        run(tmp_path / "text.parquet", tmp_path / "out", bundle)
    with pytest.raises(BadInput, match="there is no file"):
        run(tmp_path / "gone.parquet", tmp_path / "out", bundle)
    pq.write_table(pa.table({"path": ["a", "b"], "bytes": [None, b"0" * 99]}), tmp_path / "rows.parquet")
    source = open_source(str(tmp_path / "rows.parquet"), most_bytes=50)
    reasons = source.read(source.find(()).items)
    assert reasons[0] == "there are no bytes in this row"
    assert "allowed" in str(reasons[1])


def test_a_source_is_read_from_a_copy_in_any_order(pictures: Path, tmp_path: Path) -> None:
    """As a worker on another machine does."""
    write_parquet(pictures, tmp_path / "one.parquet", "bytes")
    for where in (pictures, tmp_path / "one.parquet"):
        source = open_source(str(where), MOST_BYTES)
        items = source.find((".png", ".jpg")).items
        copy = pickle.loads(pickle.dumps(source))  # noqa: S301
        bodies = [(pictures / item.path).read_bytes() for item in items]
        assert copy.read(items) == bodies
        assert copy.read(items[::-1]) == bodies[::-1]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server.running() as server:
        server.make("shop")
        yield server


@pytest.fixture
def cloud(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.mark.scale
def test_parts_in_a_bucket_are_those_of_a_folder_and_are_there_once(
    cloud: S3Server, pictures: Path, tmp_path: Path, bundle: Bundle
) -> None:
    (pictures / "bad.png").write_bytes(b"no")
    cloud.fill("shop", pictures, "fruit")
    run(pictures, tmp_path / "disk", bundle)
    done = run("s3://shop/fruit", "s3://shop/out/one", bundle)
    assert (done.done, done.rejected) == (101, 1)

    def names() -> list[str]:
        return [key.removeprefix("out/one/") for key in cloud.keys("shop", "out/one/")]

    def body(name: str) -> bytes:
        return cloud.client().get_object(Bucket="shop", Key=f"out/one/{name}")["Body"].read()  # type: ignore[no-any-return]

    first = names()
    written = [pq.read_table(pa.BufferReader(body(name))) for name in first if name.startswith("rows/")]
    assert pa.concat_tables(written).equals(rows(tmp_path / "disk"))
    assert json.loads(body(output.SUCCESS))["rejects"] == 1
    assert run("s3://shop/fruit", "s3://shop/out/one", bundle).done == 0
    cloud.client().delete_object(Bucket="shop", Key=f"out/one/{next(n for n in first if n.startswith('rows/'))}")
    assert run("s3://shop/fruit", "s3://shop/out/one", bundle).done == 32
    assert names() == first
    with pytest.raises(Refused, match="holds the parts of another run"):
        run(pictures, "s3://shop/out/one", bundle)
    run(pictures, "s3://shop/out/one", bundle, fresh=True)
    assert len([name for name in names() if name.startswith("rows/")]) == len(parts(tmp_path / "disk"))


@pytest.mark.scale
def test_a_bucket_that_cannot_be_written_to_says_which_right_is_missing(
    cloud: S3Server, pictures: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="there is no bucket nowhere"):
        run(pictures, "s3://nowhere/out", bundle)
    with pytest.raises(BadInput, match="is a whole bucket"):
        run(pictures, "s3://shop", bundle)
    for name, value in cloud.environment(READER).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MissingService, match="may not be written to") as caught:
        run(pictures, "s3://shop/closed", bundle)
    assert "s3:PutObject" in caught.value.expected


@pytest.mark.scale
def test_of_two_plans_that_begin_at_once_s3_takes_one(cloud: S3Server) -> None:
    first, second = BucketStore("s3://shop/race"), BucketStore("s3://shop/race")
    assert [first.create("_plan.json", b"1"), second.create("_plan.json", b"2")] == [True, False]
    assert second.read("_plan.json") == b"1"
    assert first.read("never") is None
