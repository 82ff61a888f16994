"""Has answers compared by another process (`serving.router.agreement`).

Two masks can be compared only after the caller's input is decoded. In the router's process that would delay every
request and could take its memory. The other process may die: one comparison is lost, and the next starts it again.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from registry.contract.spec import ModelSpec
from registry.core.errors import BadInput
from serving.wire.negotiation import JPEG, JSON, WEBM

DIFFERS = {"classification": 1.0, "features": 1.0, "detection": 0.5, "segmentation": 0.8}
"""Two answers whose agreement is below this count as different."""
SIZES = struct.Struct("!4I")


def comparable(spec: ModelSpec) -> str:
    """The content type to compare answers in: the label file of a segmentation, JSON of everything else."""
    if spec.task != "segmentation":
        return JSON
    return next((media for media in spec.media_out if media not in (JSON, JPEG, WEBM)), JSON)


@dataclass(frozen=True)
class Question:
    """Two answers to the same request.

    Attributes:
        kind: content type of the request's body, `sample`.
        one, other: content type and body of an answer.
    """

    model: str
    kind: str
    sample: bytes
    one: tuple[str, bytes]
    other: tuple[str, bytes]


class Comparer:
    """The other process, started with the first question."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, question: Question) -> float | None:
        """The agreement, [0, 1]; None where the answers cannot be compared. A cancelled call ends the process.

        Raises:
            BadInput: an input or an answer cannot be read.
            OSError: the process ended.
        """
        async with self._one_at_a_time:
            process = await self._running()
            try:
                return await _ask(process, question)
            except BadInput:
                raise
            except BaseException:
                self.stop()
                raise

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            argv = [sys.executable, "-m", "serving.router.agreement"]
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe)
        return self._process

    def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process = None


async def _ask(process: asyncio.subprocess.Process, question: Question) -> float | None:
    assert process.stdin is not None
    assert process.stdout is not None
    texts = (question.model, question.kind, question.one[0], question.other[0])
    head = json.dumps(texts).encode()
    parts = (head, question.sample, question.one[1], question.other[1])
    process.stdin.write(SIZES.pack(*map(len, parts)))
    for part in parts:
        process.stdin.write(part)
        await process.stdin.drain()
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        raise OSError("the process that compares answers has ended")
    found: dict[str, Any] = json.loads(line)
    if "problem" in found:
        raise BadInput(str(found["problem"]))
    agreement: float | None = found["agreement"]
    return agreement
