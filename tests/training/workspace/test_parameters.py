"""params.yaml: what it may hold, and what is said of a misspelt name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from registry.contract import catalog
from registry.core.errors import SettingsError
from tests.conftest import PROJECT
from training.workspace.parameters import known_keys, read_file, read_params

PARAMS = yaml.safe_load((PROJECT / "params.yaml").read_text())


def changed(folder: Path, **sections: object) -> Path:
    """The project's params.yaml with other sections of skin_segmentation, or of the top."""
    top = {name: value for name, value in sections.items() if name in ("models", "skin_segmentaton")}
    mine = {**PARAMS["skin_segmentation"], **{name: value for name, value in sections.items() if name not in top}}
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({**PARAMS, "skin_segmentation": mine, **top}))
    return path


@pytest.mark.parametrize("model", catalog.names())
def test_what_the_project_ships_is_accepted(model: str) -> None:
    assert read_params(PROJECT / "params.yaml", model)["train"]["epochs"]


@pytest.mark.parametrize(
    ("sections", "found", "nearest"),
    [
        ({"train": {"learing_rate": 0.1}}, "skin_segmentation.train has a key 'learing_rate'", "learning_rate"),
        ({"retrain": {"new_shares": 0.1}}, "skin_segmentation.retrain has a key 'new_shares'", "new_share"),
        ({"compress": {"sparsty": 0.1}}, "skin_segmentation.compress has a key 'sparsty'", "sparsity"),
        ({"evaluate": {"bootsrap": 200}}, "skin_segmentation.evaluate has a key 'bootsrap'", "bootstrap"),
        ({"data": {"sed": 7}}, "skin_segmentation.data has a key 'sed'", "seed"),
        ({"trian": {}}, "skin_segmentation has a section 'trian'", "train"),
        ({"skin_segmentaton": {}}, "it has a section 'skin_segmentaton'", "skin_segmentation"),
        ({"models": ["fruit_feature"]}, "models lists 'fruit_feature'", "fruit_features"),
    ],
)
def test_a_misspelt_name_is_an_error_that_names_the_nearest(
    tmp_path: Path, sections: dict[str, object], found: str, nearest: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read_params(changed(tmp_path, **sections), "skin_segmentation")
    assert found in caught.value.found
    assert caught.value.fix == f"did you mean {nearest!r}?"


def test_a_key_of_another_model_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="alpha"):
        read_params(changed(tmp_path, train={"alpha": 0.5}), "skin_segmentation")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"models: [", "is not YAML"),
        (b"- 1\n", "holds no sections"),
        (b"skin_segmentation: {train: 3}\n", "skin_segmentation.train is 3"),
        (b"\xff\xfe\x00", "is not YAML"),
    ],
)
def test_a_damaged_file_is_one_clear_message(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=says):
        read_params(path, "skin_segmentation")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no"):
        read_file(tmp_path / "params.yaml")


@pytest.mark.parametrize("model", catalog.names())
def test_a_key_that_a_model_declares_is_read_by_it(model: str) -> None:
    files = [path for path in (catalog.FOLDER / model).glob("*.py") if path.stem != "__init__"]
    files.append(PROJECT / "registry" / "vision_tasks" / "keras_classifier.py")  # shared hooks
    sources = "".join(path.read_text() for path in files)
    for key, meaning in catalog.get(model).parameters.items():
        assert meaning
        assert re.search(rf"[\"']{key}[\"']", sources), f"{model} declares {key} and never reads it"


@pytest.mark.parametrize("model", catalog.names())
def test_a_key_that_a_model_reads_is_declared(model: str) -> None:
    """Both ways: a key that a model's code asks for and nobody may write would be dead."""
    sources = "".join(path.read_text() for path in (catalog.FOLDER / model).glob("*.py"))
    asked = set(re.findall(r"\bparams(?:\.get\(|\[)\"(\w+)\"", sources))
    known = {key for section in ("data", "train", "compress") for key in known_keys(catalog.get(model), section)}
    # What the code itself adds: the data's classes; the options of an import.
    assert asked - known - {"image_size"} <= {"classes", "val_share", "test_share", "group_pattern"}
