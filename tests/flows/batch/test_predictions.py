"""`visionloop predict-batch`: the same answers as the service gives, for pictures, scans, files and videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flows.batch import output, spaces
from flows.batch.spaces import Space
from registry.contract import catalog
from registry.core.errors import BadInput
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor
from registry.vision.picture import to_jpeg
from tests.bundles import make_scan
from tests.clips import scene
from tests.detector_bundle import make_detector_bundle
from tests.flows.batch.running import parts, rejects, rows, run

DETECTOR = "object_detection"


def test_a_prediction_is_what_the_service_would_answer(tmp_path: Path) -> None:
    bundle = make_detector_bundle(tmp_path / "bundle", catalog.get(DETECTOR))
    source = tmp_path / "streets"
    source.mkdir()
    for n in range(40):
        (source / f"{n:02d}.jpg").write_bytes(to_jpeg(scene(n, 160, 120)))
    (source / "bad.jpg").write_bytes(b"no")
    done = run(source, tmp_path / "out", bundle, kind="predictions", media="image/jpeg")
    assert (done.done, done.rejected) == (41, 1)
    assert list(rejects(tmp_path / "out")) == ["bad.jpg"]
    predictor = Predictor(bundle, threads=1)
    table = rows(tmp_path / "out").to_pylist()
    assert [row["path"] for row in table] == [f"{n:02d}.jpg" for n in range(40)]
    for row in table[::13]:
        single = predictor((source / row["path"]).read_bytes())
        assert json.loads(row["prediction"]) == json.loads(json.dumps(single.result.to_json()))
        assert dict(row["statistics"]) == pytest.approx(single.prediction_statistics)
        np.testing.assert_allclose(row["embedding"], single.embedding, rtol=1e-4, atol=1e-5)
        assert row["file"] == predictor.spec.render.FORMATS["image/jpeg"](single.sample, single.result)


def test_scans_have_many_slices_and_one_row(tmp_path: Path, tiny_bundle: Bundle) -> None:
    source = tmp_path / "scans"
    source.mkdir()
    for n in range(6):
        (source / f"{n}.nii.gz").write_bytes(make_scan(n, (64, 48, n + 1)))
    run(source, tmp_path / "out", tiny_bundle, kind="predictions", batch=4)
    predictor = Predictor(tiny_bundle, threads=1)
    for row in rows(tmp_path / "out").to_pylist():
        single = predictor((source / row["path"]).read_bytes())
        assert json.loads(row["prediction"]) == json.loads(json.dumps(single.result.to_json()))
        np.testing.assert_allclose(row["embedding"], single.embedding, rtol=1e-4, atol=1e-5)


def test_a_type_that_the_model_does_not_make_is_refused(tmp_path: Path, tiny_bundle: Bundle) -> None:
    with pytest.raises(BadInput, match=r"makes no video/webm"):
        run(tmp_path, tmp_path / "out", tiny_bundle, kind="predictions", media="video/webm")
    with pytest.raises(BadInput, match="makes no features"):
        run(tmp_path, tmp_path / "out", tiny_bundle)
    assert not (tmp_path / "out").exists()


def test_components_are_fitted_once_and_explain_what_they_say(pictures: Path, tmp_path: Path, bundle: Bundle) -> None:
    out = tmp_path / "out"
    (pictures / "bad.png").write_bytes(b"no")
    seen: list[Space] = []
    done = run(pictures, out, bundle, pca=5, on_space=seen.append)
    features = np.array(rows(out)["features"].to_pylist())
    found = np.array(rows(out, spaces.COMPONENTS)[spaces.COMPONENTS].to_pylist())
    assert rows(out, spaces.COMPONENTS)["path"].to_pylist() == rows(out)["path"].to_pylist()
    deviation = features.std(axis=0, ddof=1)
    standard = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    _, values, _ = np.linalg.svd(standard, full_matrices=False)
    expected = (values**2)[:5] / (values**2).sum()
    np.testing.assert_allclose(seen[0].explained, expected, rtol=1e-4)
    np.testing.assert_allclose(found.var(axis=0, ddof=1), (values**2)[:5] / (len(features) - 1), rtol=1e-3)
    assert done.explained == pytest.approx(expected.sum(), rel=1e-4)
    assert (out / spaces.PLOT).read_bytes().startswith(b"\x89PNG")
    assert Space.from_bytes((out / spaces.MODEL).read_bytes()).components.shape == (5, features.shape[1])
    assert run(pictures, out, bundle, pca=5, on_space=seen.append).done == 0
    assert len(seen) == 1, "the same command fits nothing anew"
    (out / spaces.ABOUT).unlink()  # as if killed on the way
    parts(out, spaces.COMPONENTS)[0].unlink()
    run(pictures, out, bundle, pca=5, on_space=seen.append)
    assert np.array_equal(np.array(rows(out, spaces.COMPONENTS)[spaces.COMPONENTS].to_pylist()), found)


def test_more_components_than_pictures_are_refused_and_the_features_stay(
    pictures: Path, tmp_path: Path, bundle: Bundle
) -> None:
    with pytest.raises(BadInput, match="fewer components than pictures"):
        run(pictures, tmp_path / "out", bundle, pca=100)
    assert len(rows(tmp_path / "out")) == 100
    assert not (tmp_path / "out" / output.SUCCESS).exists()
