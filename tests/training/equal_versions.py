"""Two versions that are equally good: each case has its own difficulty, and both answer it by the same chances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from registry.boxes.detection import Detections
from registry.boxes.labels import TrueBoxes
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.models.face_gender.inference import Faces
from registry.models.skin_segmentation.inference import SkinResult
from registry.vision_tasks.masks import TrueMask
from training.gate import rules as gate_rules
from training.gate.comparison import OVERALL, Comparison

SIDE = 320
GRID = 24

Answer = Callable[[ModelSpec, Any, float, np.random.Generator], Any]


def draw(model: str, cases: int, rng: np.random.Generator) -> tuple[list[Any], list[Any], list[Any]]:
    """Truths, and the results of two versions."""
    spec = catalog.get(model)
    true = _boxes if model == "face_gender" else _TRUTHS[spec.task]
    truths = [true(spec, rng) for _ in range(cases)]
    hard = rng.beta(2, 4, cases)
    return truths, answers(model, truths, hard, rng), answers(model, truths, hard, rng)


def answers(model: str, truths: Sequence[Any], hard: Sequence[float], rng: np.random.Generator) -> list[Any]:
    """A version's results; a case that is not hard at all (0) it gets right."""
    spec = catalog.get(model)
    answer = _answer_faces if model == "face_gender" else _ANSWERS[spec.task]
    return [answer(spec, t, h, rng) for t, h in zip(truths, hard, strict=True)]


def promoted(model: str, cases: int, seed: int, rounds: int, each: int = 1) -> bool:
    """Whether the gate's comparison would let such a version in: three slices by an attribute, as starter data has.

    Args:
        each: how many cases a patient has, one as the other.
    """
    spec, rng = catalog.get(model), np.random.default_rng([seed, cases])
    truths, ours, theirs = ([one for one in some for _ in range(each)] for some in draw(model, cases // each, rng))
    groups = [f"patient {row // each}" for row in range(cases)] if each > 1 else ()
    third = rng.integers(0, 3, cases)
    members = {OVERALL: list(range(cases)), **{f"light={n}": np.flatnonzero(third == n).tolist() for n in range(3)}}
    compared = Comparison(spec, ours, theirs, truths, members, rounds, groups)
    if compared.value(OVERALL) <= 0:
        return False
    rules = [gate_rules.better(spec, compared, None, ""), gate_rules.not_worse(spec, compared)]
    return all(rule.passed for rule in [*rules, gate_rules.no_slice_lost(spec, compared)])


def _mask(spec: ModelSpec, rng: np.random.Generator) -> TrueMask:
    x, y = np.meshgrid(*[np.linspace(-1, 1, GRID)] * 2, indexing="ij")
    a, b = rng.uniform(0.4, 0.8, 2)
    return TrueMask(((x / a) ** 2 + (y / b) ** 2 < 1).astype(np.uint8)[..., None])


def _boxes(spec: ModelSpec, rng: np.random.Generator) -> TrueBoxes:
    count = int(rng.integers(1, 4))
    corner, size = rng.uniform(0, 0.6, (count, 2)), rng.uniform(0.1, 0.4, (count, 2))
    classes = rng.integers(0, min(len(spec.classes), 5), count)
    return TrueBoxes(np.hstack([corner, corner + size]).astype(np.float32), classes.astype(np.int64))


def _name(spec: ModelSpec, rng: np.random.Generator) -> str:
    return str(rng.choice(spec.classes))


def _answer_mask(spec: ModelSpec, true: TrueMask, hard: float, rng: np.random.Generator) -> SkinResult:
    wrong = rng.random(true.mask.shape) < hard * rng.random()
    return SkinResult(np.where(wrong, 1 - true.mask, true.mask).astype(np.uint8), (1.0, 1.0, 1.0), 2, 2, np.eye(4))


def _answer_name(spec: ModelSpec, true: str, hard: float, rng: np.random.Generator) -> Any:
    return spec.score.result_of(_name(spec, rng) if rng.random() < hard else true, None)


def _answer_boxes(spec: ModelSpec, true: TrueBoxes, hard: float, rng: np.random.Generator) -> Detections:
    boxes = true.pixels(SIDE, SIDE) + rng.normal(0, 40 * hard, (len(true.boxes), 4)).astype(np.float32)
    extra = rng.uniform(0, SIDE / 2, (int(rng.random() < hard), 4)).astype(np.float32)
    extra[:, 2:] += extra[:, :2] + 10
    boxes = np.clip(np.vstack([boxes, extra]), 0, SIDE).astype(np.float32)
    classes = np.concatenate([true.classes, rng.integers(0, len(spec.classes), len(extra))]).astype(np.int64)
    order = np.argsort(-(scores := rng.uniform(0.3, 1, len(boxes)).astype(np.float32)))
    return Detections(boxes[order], scores[order], classes[order], spec.classes, SIDE, SIDE)


def _answer_faces(spec: ModelSpec, true: TrueBoxes, hard: float, rng: np.random.Generator) -> Faces:
    right = np.eye(len(spec.classes), dtype=np.float32)[true.classes]
    wrong = (rng.random(len(right)) < hard)[:, None]
    probabilities = np.where(wrong, np.roll(right, 1, axis=1), right).astype(np.float32)
    sure = np.ones(len(right), np.float32)
    return Faces(true.pixels(SIDE, SIDE), sure, probabilities, spec.classes, SIDE, SIDE)


_TRUTHS: dict[str, Callable[[ModelSpec, np.random.Generator], Any]] = {
    "segmentation": _mask,
    "detection": _boxes,
    "classification": _name,
    "features": _name,
}
_ANSWERS: dict[str, Answer] = {
    "segmentation": _answer_mask,
    "detection": _answer_boxes,
    "classification": _answer_name,
    "features": _answer_name,
}
