"""Against a real MLflow store: SQLite and files, as the embedded default has it without a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from registry.contract import catalog
from registry.core.errors import BundleError, MissingService, NotFound, Refused
from registry.core.settings import settings
from registry.versions.bundle import Bundle, Score, open_bundle
from registry.versions.decision import Decision, Reason, SliceRow
from registry.versions.mlflow_registry import Version, Versions
from tests.benchmarks.services import there
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.mlflow_stores import empty_store
from tests.odd_places import odd_place


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return empty_store(tmp_path_factory.mktemp("mlflow") / "mlflow.db")


@pytest.fixture
def versions(workspace: Path, store: str) -> Versions:
    return Versions(store)


@pytest.fixture
def two(versions: Versions, tiny_bundle: Bundle, tmp_path: Path) -> tuple[Version, Version]:
    other = make_tiny_bundle(tmp_path / "other", version_note="second", threshold=0.4)
    return versions.register(tiny_bundle), versions.register(other)


def test_a_bundle_becomes_a_version_once_and_comes_back_whole(
    versions: Versions, tiny_bundle: Bundle, two: tuple[Version, Version]
) -> None:
    first, second = two
    assert second.number != first.number
    assert versions.register(tiny_bundle).number == first.number
    fetched = versions.fetch(first)
    assert fetched.digest == tiny_bundle.digest == first.digest
    # A damaged copy on this machine is fetched again.
    (fetched.path / "network.onnx").write_bytes(b"broken")
    assert open_bundle(versions.fetch(first).path).digest == first.digest


def test_a_bundle_in_an_odd_place_comes_back_whole(
    versions: Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = odd_place(tmp_path)
    monkeypatch.setenv("VISIONLOOP_VAR", str(place / "var"))
    settings.cache_clear()
    bundle = make_tiny_bundle(place / "bundle", version_note="odd")
    fetched = versions.fetch(versions.register(bundle))
    assert fetched.digest == bundle.digest
    assert fetched.path.is_relative_to(place.resolve() / "var")


def test_a_bundle_that_was_exchanged_in_the_store_is_not_taken(
    versions: Versions, two: tuple[Version, Version], workspace: Path
) -> None:
    """It is whole in itself, but it is not what was registered."""
    import mlflow

    first, second = two
    kept_in = Path(mlflow.artifacts.download_artifacts(f"models:/{MODEL}/{first.number}"))
    stored = next(kept_in.rglob("bundle.json")).parent
    kept = workspace / "kept"
    shutil.copytree(stored, kept)
    shutil.rmtree(stored)
    shutil.copytree(versions.fetch(second).path, stored)
    try:
        with pytest.raises(BundleError, match="another bundle"):
            versions.fetch(first)
        assert not (settings().var / "bundles" / MODEL / str(first.number)).exists()
    finally:
        shutil.rmtree(stored)
        shutil.copytree(kept, stored)


def test_promotion_and_rollback_change_places(versions: Versions, two: tuple[Version, Version]) -> None:
    first, second = two
    versions.promote(first)
    versions.promote(second)
    assert versions.get(MODEL).number == second.number
    assert versions.get(MODEL, "previous").number == first.number
    assert versions.roll_back(MODEL).number == first.number
    assert versions.get(MODEL, "previous").number == second.number


def test_what_is_not_there_is_said(versions: Versions, two: tuple[Version, Version]) -> None:
    with pytest.raises(NotFound, match="no version 99"):
        versions.get(MODEL, 99)
    with pytest.raises(Refused, match="no previous"):
        versions.roll_back("nobody")
    assert versions.find("nobody") is None


def test_a_benchmark_measures_what_is_there_and_leaves_the_rest_out(
    versions: Versions, two: tuple[Version, Version]
) -> None:
    versions.promote(two[0])
    chosen, absent = there(versions, [])
    assert [version.model for version in chosen] == [MODEL]
    assert absent == [name for name in catalog.names() if name != MODEL]
    with pytest.raises(NotFound) as error:
        there(versions, [absent[0]])
    assert error.value.found == f"{absent[0]} has no version yet"
    assert "none" not in str(error.value)


def test_a_version_that_is_not_there_is_guessed(versions: Versions, two: tuple[Version, Version]) -> None:
    versions.promote(two[0])
    with pytest.raises(NotFound) as error:
        versions.get(MODEL, "champoin")
    assert error.value.fix == "did you mean 'champion'?"
    assert {"1", "2", "champion"} <= set(error.value.expected.removeprefix("one of ").split(", "))


def test_a_server_that_is_away_is_one_clear_message(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MissingService, match="visionloop up"):
        Versions("http://127.0.0.1:9").list(MODEL)


@pytest.mark.skipif("%" in sys.prefix, reason="MLflow alone cannot read its migrations below a % (ours is helped)")
def test_mlflows_own_loader_runs_a_version_on_a_file(
    versions: Versions, two: tuple[Version, Version], store: str, tmp_path: Path
) -> None:
    """In a process that cannot import this project from its folder: the version carries its code."""
    import mlflow

    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(make_scan(3, (64, 48, 2)))
    code = (
        "import sys, mlflow; mlflow.set_tracking_uri(sys.argv[1]); "
        "found = mlflow.pyfunc.load_model(sys.argv[2]).predict([sys.argv[3]]); "
        "import registry; print(registry.__file__); print(found.loc[0, 'foreground_share'])"
    )
    argv = [sys.executable, "-I", "-c", code, store, f"models:/{MODEL}/{two[0].number}", str(scan)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    info = mlflow.models.get_model_info(f"models:/{MODEL}/{two[0].number}")
    assert info.signature.inputs is not None
    assert "foreground_share" in info.signature.outputs.input_names()
    assert info.saved_input_example_info is not None
    assert 0 < float(done.stdout.split()[-1]) < 1


def test_a_decision_page_stands_alone(workspace: Path) -> None:
    score = Score(value=0.9, low=0.88, high=0.92, cases=40)
    decision = Decision(
        model=MODEL, challenger=2, champion=1, granted=False, asked_by="a test", why="<script>alert(1)</script>",
        metric="Dice", data_hash="abc.dir",
        reasons=(Reason("latency", False, "40 ms", "at most 25 ms"), Reason("floor", True, "0.90", "0.80")),
        slices=(SliceRow("all", score, score, -0.01, -0.02, 0.0),),
        pictures={"a sample": b"\xff\xd8\xff"},
    )  # fmt: skip
    page = decision.save()
    text = page.read_text()
    assert "refused" in text
    assert "at most 25 ms" in text
    assert "<script>" not in text
    assert "http" not in text
    assert decision.summary == f"{MODEL} version 2 refused: latency (against champion 1)"
    assert page.with_suffix(".json").is_file()
