"""ModelSpec: what the platform knows of a model before it loads any of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from registry.vision import media_types

if TYPE_CHECKING:
    from registry.contract import parts
    from registry.contract.hooks import NetworkPart


@dataclass(frozen=True)
class Metric:
    """What decides. `floor` is the least value (greatest, if lower is better) that may be promoted at all."""

    name: str
    title: str
    floor: float
    higher_is_better: bool = True

    @property
    def perfect(self) -> float:
        """What a model without a fault has."""
        return 1.0 if self.higher_is_better else 0.0

    def better_by(self, new: float, old: float) -> float:
        """How much better `new` is than `old`, positive when it is."""
        return new - old if self.higher_is_better else old - new


@dataclass(frozen=True)
class Budget:
    """What a version may cost and lose.

    Attributes:
        latency_ms: network p50 for one input of `input_shape`, batch 1, all threads.
        size_mb: exported network on disk, MB (10^6 bytes).
        metric_loss: how much of the metric compression may cost against the dense network, and how
            much a challenger may lose against the champion, in a slice beyond chance. In the metric's unit.
    """

    latency_ms: float
    size_mb: float
    metric_loss: float = 0.01


@dataclass(frozen=True)
class ModelSpec:
    """One model. Everything particular to it lives in `registry/models/<name>/`.

    Attributes:
        name: folder, URL and registry name: lower case with underscores.
        framework: which training engine drives it.
        media_in: content types that `predict` takes; `extensions` are the file endings that go with them. Empty, as
            `media_out`: those of pictures, of a detector those of videos too, and of a segmentation masks.
        media_out: content types that it can answer with; the first is the default.
        classes: class names in the order of the network's outputs.
        weights: sources of pretrained weights in the order they are tried; empty: from scratch.
        caution: what it must not be used for, shown on its pages.
        embeds: what an embedding of it describes, where that is of use by itself; empty: no `/embed` is offered.
        parameters: keys of its own that `train` in params.yaml may have, each with what it means; the keys that every
            model has are in `training/workspace/parameters.py`.
    """

    name: str
    title: str
    task: Literal["segmentation", "detection", "classification", "features"]
    framework: Literal["torch", "keras", "ultralytics"]
    classes: tuple[str, ...]
    metric: Metric
    budget: Budget
    media_in: tuple[str, ...] = ()
    media_out: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    caution: str = ""
    embeds: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        videos, masks = self.task == "detection", self.task == "segmentation"
        answers = media_types.MASK_OUT if masks else media_types.PICTURE_OUT
        for name, pictures, both in (
            ("media_in", media_types.PICTURE_IN, media_types.DETECTOR_IN),
            ("media_out", answers, media_types.DETECTOR_OUT),
            ("extensions", media_types.PICTURE_EXTENSIONS, media_types.DETECTOR_EXTENSIONS),
        ):
            if not vars(self)[name]:
                object.__setattr__(self, name, both if videos else pictures)  # frozen from here on

    def classes_of(self, root: Path) -> tuple[str, ...]:
        """The classes of the data set at `root`: its own, where the data may bring some."""
        return (self.data.own_classes(root) if root.is_dir() else None) or self.classes

    @property
    def model(self) -> parts.Model:
        """The parts, imported when first asked for."""
        return cast("parts.Model", importlib.import_module(f"registry.models.{self.name}.model").MODEL)

    @property
    def data(self) -> parts.DataPart:
        return self.model.data

    @property
    def inference(self) -> parts.InferencePart:
        return self.model.inference

    @property
    def render(self) -> parts.RenderPart:
        return self.model.render

    @property
    def score(self) -> parts.ScorePart:
        return self.model.score

    @property
    def shift(self) -> parts.ShiftPart:
        return self.model.shift

    @property
    def network(self) -> NetworkPart:
        """What training asks; the framework is imported now."""
        return self.model.network
