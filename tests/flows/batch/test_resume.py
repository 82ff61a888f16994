"""However a run ends, the next one goes on where it stopped, and never mixes what does not belong together."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.batch import output
from flows.batch.listing import Item, Listing
from flows.batch.plan import Plan
from flows.batch.sources import Folder
from flows.batch.stores import FolderStore
from registry.core.errors import Refused, StorageError
from registry.versions.bundle import Bundle
from tests.conftest import PROJECT
from tests.disks import mount, small_disk
from tests.flows.batch.feature_bundle import make_feature_bundle
from tests.flows.batch.running import MOST_BYTES, draw, parts, rows, run
from tests.waiting import until


def test_a_second_run_does_nothing_and_a_missing_part_is_made_again(
    pictures: Path, tmp_path: Path, bundle: Bundle
) -> None:
    out = tmp_path / "out"
    run(pictures, out, bundle)
    before = {path.name: path.stat().st_mtime_ns for path in parts(out)}
    assert len(before) == 4
    assert run(pictures, out, bundle).done == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in parts(out)}
    whole = rows(out)
    parts(out)[2].unlink()
    seen: list[tuple[int, int, str]] = []
    done = run(pictures, out, bundle, on_progress=lambda *now: seen.append(now))
    assert done.done == 32
    assert seen == [
        (done.pictures - 32, done.pictures, f"{done.pictures - 32} are there already"),
        (done.pictures, done.pictures, ""),
    ]
    assert rows(out).equals(whole)


def test_a_killed_run_loses_no_whole_part_and_the_next_finishes(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    for n in range(100, 1500):
        draw(pictures / "more" / f"{n}.png", n)
    out = tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from registry.versions.bundle import open_bundle; "
        "from tests.flows.batch.feature_bundle import version_of; from flows.batch.run import run; "
        "b = open_bundle(Path(sys.argv[2])); run(sys.argv[1], sys.argv[3], version_of(b), b.path)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(pictures), str(bundle.path), str(out)], cwd=PROJECT)
    until(lambda: len(parts(out)) >= 2 or child.poll() is not None, 60, 0.005)
    assert child.poll() is None, "it was over before it could be killed"
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=20)
    kept = {path: path.stat().st_mtime_ns for path in parts(out)}
    assert 2 <= len(kept) < 16
    done = run(pictures, out, bundle)
    assert done.done == 1500 - sum(pq.read_metadata(path).num_rows for path in kept)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert len(set(rows(out)["path"].to_pylist())) == 1500
    assert not [path.name for path in out.rglob("*") if path.name.startswith(".")]


def test_a_full_disk_keeps_whole_parts_and_names_the_folder(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    run(pictures, tmp_path / "roomy", bundle)
    sizes = [path.stat().st_size for path in parts(tmp_path / "roomy")]
    with small_disk(tmp_path / "disk", sum(sizes[:2]) + sizes[2] // 2) as disk:
        out = disk / "out"
        with pytest.raises(StorageError, match="the disk is full") as caught:
            run(pictures, out, bundle, workers=1)
        assert str(out) in caught.value.fix
        assert sorted(path for path in out.rglob("*") if path.parent != out) == parts(out)
        assert len(parts(out)) == 2
        mount("-o", f"remount,size={2 * sum(sizes)}", str(disk))
        assert run(pictures, out, bundle).done == 36
        assert rows(out).equals(rows(tmp_path / "roomy"))


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
    assert "--fresh" in caught.value.fix
    assert rows(out).equals(before), "a refusal must leave everything as it is"
    done = run(where, out, other, number, fresh=True)
    assert done.done == done.pictures == rows(out).num_rows


def test_files_of_somebody_else_are_never_touched(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    out = tmp_path / "out"
    out.mkdir()
    pq.write_table(pa.table({"mine": [1]}), out / "part-00000.parquet")
    for fresh in (False, True):
        with pytest.raises(Refused, match="this command has not written"):
            run(pictures, out, bundle, fresh=fresh)
    assert pq.read_table(out / "part-00000.parquet").column_names == ["mine"]


def test_two_runs_do_not_write_to_one_folder(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    with FolderStore(tmp_path / "out").owned(), pytest.raises(Refused, match="another run"):
        run(pictures, tmp_path / "out", bundle)


def test_a_damaged_plan_is_not_taken_for_ours(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    out = tmp_path / "out"
    run(pictures, out, bundle)
    (out / output.PLAN).write_text("{")
    with pytest.raises(Refused):
        run(pictures, out, bundle)


def test_a_listing_is_the_same_until_a_picture_changes(pictures: Path) -> None:
    source = Folder(pictures, MOST_BYTES)
    first, second = source.find((".jpg", ".png")), source.find((".jpg", ".png"))
    assert first.digest == second.digest
    assert first.items == tuple(sorted(first.items))
    draw(pictures / "one-more.png", 3)
    assert source.find((".jpg", ".png")).digest != first.digest


@pytest.mark.parametrize(("count", "part", "parts"), [(1, 32, 1), (512, 32, 16), (513, 64, 9), (100_000, 1024, 98)])
def test_parts_are_enough_to_share_and_never_huge(count: int, part: int, parts: int) -> None:
    items = tuple(Item(f"{n:06d}.jpg", 1, "") for n in range(count))
    made = Plan.of("features", "", "s", "v", "d", Listing(items, 0))
    assert (made.part, made.parts) == (part, parts)
    assert [x for n in range(made.parts) for x in made.slice(items, n)] == list(items)
