"""How far two versions' answers to the same input agree, by the kind of answer.

a class          1 where both name the same class, else 0
boxes            F1 score of one version's boxes against the other's: two boxes match where their labels are the same
                 and their intersection over union is at least 0.5
a label file     the model's own metric of one answer with the other as truth, such as Dice of two masks

`python -m serving.router.agreement` reads questions (serving.router.comparing) from its standard input, and writes one
line for each.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from starlette.requests import Request
from starlette.types import Message

from registry.boxes.detection import overlaps
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput, VisionloopError
from registry.core.media import FloatArray
from registry.core.settings import settings
from serving.router.comparing import JSON, SIZES, Question, comparable
from serving.wire.admission import UploadBudget
from serving.wire.uploads import Limits, read_upload

IOU = 0.5
MEMORY_BYTES = 4 << 30
"""Bytes of address space of this process, libraries included."""
NICE = 10


@dataclass(frozen=True)
class Answer:
    """One version's answer."""

    media: str
    body: bytes


def agreement(spec: ModelSpec, max_voxels: int, sample: bytes, one: Answer, other: Answer) -> float | None:
    """In [0, 1], 1 where the answers are the same; None where they cannot be compared.

    Args:
        sample: the input of both answers, as it was uploaded.

    Raises:
        VisionloopError: an answer is not what its content type says.
    """
    kind = comparable(spec)
    if not (one.media.startswith(kind) and other.media.startswith(kind)):
        return None
    if kind != JSON:
        truth, score = spec.score.truth, spec.score.score
        decoded = spec.inference.decode(sample, max_voxels)
        return float(score([spec.score.result_of(truth(other.body), decoded)], [truth(one.body)]))
    left, right = (json.loads(answer.body) for answer in (one, other))
    if "class" in left and "class" in right:
        return float(left["class"] == right["class"])
    boxes = [_boxes(answer) for answer in (left, right)]
    return None if boxes[0] is None or boxes[1] is None else matched(*boxes[0], *boxes[1])


def matched(left: FloatArray, left_labels: Sequence[str], right: FloatArray, right_labels: Sequence[str]) -> float:
    """F1 of boxes float32 [L, 4] against [R, 4], x1 y1 x2 y2. Each box is matched once, the best pairs first."""
    if not len(left) or not len(right):
        return float(len(left) == len(right))
    iou = overlaps(left, right)
    iou[np.array(left_labels)[:, None] != np.array(right_labels)[None]] = 0.0
    found = 0
    while iou.size and iou.max() >= IOU:
        row, column = np.unravel_index(int(iou.argmax()), iou.shape)
        iou[row, :] = iou[:, column] = 0.0
        found += 1
    return 2 * found / (len(left) + len(right))


def _boxes(answer: Mapping[str, Any]) -> tuple[FloatArray, list[str]] | None:
    """The boxes of an answer float32 [N, 4] and their labels.

    The boxes are the first list of objects with a `box`; a label is the first text of its object.
    """
    for value in answer.values():
        if isinstance(value, list) and all(isinstance(one, dict) and "box" in one for one in value):
            labels = [next((word for word in one.values() if isinstance(word, str)), "") for one in value]
            return np.array([one["box"] for one in value], np.float32).reshape(-1, 4), labels
    return None


def main() -> None:
    """Answers questions until its standard input ends."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    while (question := _read(questions)) is not None:
        answers.write(json.dumps(_compared(question)).encode() + b"\n")
        answers.flush()


def _read(stream: BinaryIO) -> Question | None:
    sizes = stream.read(SIZES.size)
    if len(sizes) < SIZES.size:
        return None
    head, *bodies = (stream.read(size) for size in SIZES.unpack(sizes))
    model, kind, *media = json.loads(head)
    sample, one, other = bodies
    return Question(model, kind, sample, (media[0], one), (media[1], other))


def _compared(question: Question) -> dict[str, Any]:
    try:
        spec, answers = catalog.get(question.model), (Answer(*question.one), Answer(*question.other))
        # Only labels that are files are compared on the input that they belong to.
        sample = b"" if comparable(spec) == JSON else asyncio.run(_sample(spec, question.kind, question.sample))
        return {"agreement": agreement(spec, settings().max_voxels, sample, *answers)}
    except VisionloopError as error:
        return {"problem": error.found}
    except Exception as error:  # whatever a decoder raises
        return {"problem": f"{type(error).__name__}: {error}"}


async def _sample(spec: ModelSpec, kind: str, body: bytes) -> bytes:
    """The bytes of the one input, however it was sent. Raises BadInput."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({"type": "http", "headers": [(b"content-type", kind.encode("latin-1"))]}, receive)
    with UploadBudget(len(body)).reserve() as reservation:
        upload = await read_upload(request, spec.media_in, Limits(len(body), max_inputs=1), reservation)
    (sample,) = upload.inputs
    if isinstance(sample, BadInput):
        raise sample
    return sample


if __name__ == "__main__":
    main()
