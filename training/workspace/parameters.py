"""params.yaml: the sections of a model, what each key means, and messages that name a misspelt one.

| section    | schema                     | read by                                          |
|------------|----------------------------|--------------------------------------------------|
| `data`     | `STARTER_KEYS`             | the starter data's generator                     |
| `train`    | `Recipe`, `ModelSpec.parameters` | the engine, the model's network            |
| `retrain`  | as `train`, laid over it where a champion is fine-tuned | as `train`                |
| `compress` | `Compression`; `Recipe` laid over `train`'s | pruning and its fine-tuning              |
| `evaluate` | `Evaluating`               | the stage `evaluate`, the gate                   |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import SettingsError, did_you_mean
from registry.core.files import write_file

Parsed = TypeVar("Parsed", bound=BaseModel)
MODELS_FILE = "build/models.yaml"
SECTIONS = ("data", "train", "retrain", "compress", "evaluate")
MODELS = "models"
TASKS = ("classification", "detection", "segmentation")
"""Sections for models that have none of their own."""

STARTER_KEYS = ("seed", "train", "val", "test")
"""Keys of `data`: the seed, and how many cases of each split the starter data has."""

TRAINING_KEYS = {
    "image_size": "side of the network's input in pixels",
    "weights": "a file of weights to start from",
    "new_share": "share of an epoch for cases of origins that the champion has not seen",
}
FRAMEWORK_KEYS: Mapping[str, Mapping[str, str]] = {
    "ultralytics": {
        "architecture": "another YAML of ultralytics than the model's own",
        "score": "least score that is shown",
        "iou": "of two boxes of a class that overlap by more, the better one stays",
        "mosaic": "share of examples composed of four pictures",
        "scale": "how much larger or smaller a picture is drawn",
        "shift": "how far a picture is moved, in shares of its side",
        "flip": "share of examples that are mirrored",
        "hue": "largest change of the hue",
        "saturation": "largest gain of the saturation",
        "value": "largest gain of the brightness",
    },
}
TASK_KEYS: Mapping[str, Mapping[str, str]] = {
    "segmentation": {
        "decoder_channels": "channels of the decoder, from the narrowest picture to the widest",
        "threshold": "least probability of a class in the mask",
    },
}
PRUNING_KEYS: Mapping[str, Mapping[str, str]] = {
    "keras": {"blocks": "another sparsity for layers whose names match a pattern"},
}


class Recipe(BaseModel):
    """What an engine reads of `train`, with the values of `retrain` or `compress` in place of its own. Other keys
    belong to the model.

    Attributes:
        warm_up: share of the steps in which the learning rate rises.
        patience: epochs without a better validation metric before training stops.
        max_seconds: wall time of the loop; epochs that would not fit are not planned.
        average: share of the champion's weights in the fine-tuned ones.
        keep_statistics: batch norm keeps its means and variances. Those of a mix of old and shifted inputs fit neither:
            with a quarter of shifted pictures, fruit_features forgot twice as much.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    epochs: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    warm_up: float = Field(0.1, ge=0, lt=1)
    patience: int = Field(6, gt=0)
    seed: int = 7
    max_seconds: float = Field(gt=0)
    average: float = Field(0.0, ge=0, lt=1)
    keep_statistics: bool = False


class Compression(BaseModel):
    """What `compress` reads besides a recipe."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sparsity: float = Field(0.5, ge=0, lt=1)
    calibration: int = Field(32, gt=0)
    rounds: int = Field(7, gt=0)


class Evaluating(BaseModel):
    """The section `evaluate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: int = Field(1000, ge=100)
    samples: int = Field(3, gt=0)


def known_keys(spec: ModelSpec, section: str) -> list[str]:
    """The keys that a section of this model may have, sorted."""
    if section == "data":
        return sorted(STARTER_KEYS)
    if section == "evaluate":
        return sorted(Evaluating.model_fields)
    shared = {*TRAINING_KEYS, *FRAMEWORK_KEYS.get(spec.framework, {}), *TASK_KEYS.get(spec.task, {})}
    keys = {*Recipe.model_fields, *shared, *spec.parameters}
    if section == "compress":
        keys |= {*Compression.model_fields, *PRUNING_KEYS.get(spec.framework, {})}
    return sorted(keys)


def read_params(path: Path, model: str) -> dict[str, Mapping[str, Any]]:
    """The model's sections of params.yaml, or those of its task; a section that is not there is empty.

    Raises:
        SettingsError: it cannot be read, has no section for the model, or a name in it is unknown.
    """
    everything = read_file(path)
    mine = everything.get(section_of(model, everything))
    if not isinstance(mine, dict):
        raise SettingsError(
            f"{path.name} has no section {model!r}",
            expected=f"{model}: train: ...",
            fix="add it, as the other models do",
        )
    _refuse_unknown(path, f"{model} has a section", mine, SECTIONS)
    sections = {name: mine.get(name) or {} for name in SECTIONS}
    for name, values in sections.items():
        if not isinstance(values, dict):
            raise SettingsError(
                f"{path.name}: {model}.{name} is {values!r}",
                expected="keys with values",
                fix=f"correct {model}.{name} in {path.name}",
            )
        _refuse_unknown(path, f"{model}.{name} has a key", values, known_keys(catalog.get(model), name))
    return sections


def section_of(model: str, everything: Mapping[str, Any]) -> str:
    """The section of params.yaml that a model reads: its own, or that of its task."""
    return model if model in everything else catalog.get(model).task


def models_of(everything: Mapping[str, Any]) -> list[str]:
    """The models that have stages: all, or those that `models` lists."""
    return [str(name) for name in everything.get(MODELS) or catalog.names()]


def write_models(root: Path) -> None:
    """Writes build/models.yaml, from which dvc.yaml makes the stages of each model: name -> section of params.yaml.

    Raises SettingsError as `read_file`.
    """
    import yaml

    everything = read_file(root / "params.yaml")
    sections = {name: section_of(name, everything) for name in models_of(everything)}
    text, path = (
        yaml.safe_dump({"sections": {n: s for n, s in sections.items() if s in everything}}),
        root / MODELS_FILE,
    )
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_file(path, text)


def read_file(path: Path) -> dict[str, Any]:
    """All of params.yaml. Raises SettingsError: it cannot be read, or names an unknown model."""
    import yaml

    try:
        everything = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingsError(
            f"there is no {path}", expected="params.yaml beside dvc.yaml", fix="run it in the project folder"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise SettingsError(f"{path.name} is not YAML: {problem}", expected="YAML", fix="correct that line") from error
    if not isinstance(everything, dict):
        raise SettingsError(
            f"{path.name} holds no sections",
            expected="a section for each task",
            fix="restore it with git",
        )
    _refuse_unknown(path, "it has a section", everything, (MODELS, *TASKS, *catalog.names()))
    listed = everything.get(MODELS) or ()
    _refuse_unknown(path, f"{MODELS} lists", [str(name) for name in listed], catalog.names())
    return everything


def parse(kind: type[Parsed], model: str, section: str, values: Mapping[str, Any]) -> Parsed:
    """A section, checked. Raises SettingsError that names the key."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join([model, section, *map(str, first["loc"])])
        raise SettingsError(
            f"params.yaml: {name} is {'missing' if first['type'] == 'missing' else repr(first.get('input'))}",
            expected=first["msg"],
            fix=f"correct {name} in params.yaml",
        ) from error


def _refuse_unknown(path: Path, where: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(
                f"{path.name}: {where} {str(name)!r}",
                expected=f"one of {', '.join(known)}",
                fix=did_you_mean(str(name), known, "rename it, or remove it"),
            )
