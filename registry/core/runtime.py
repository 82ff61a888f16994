"""Runs exported networks. Only this module knows the inference engines; it needs no training framework."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from registry.core.errors import BundleError, first_line
from registry.core.media import FloatArray

Engine = Literal["openvino", "onnxruntime"]
ENGINES: frozenset[str] = frozenset(get_args(Engine))
"""Import names of the engines. An environment for one bundle needs only that bundle's."""

Numerics = Literal["f32", "bf16", "int8"]


class Session(Protocol):
    """A compiled network. Safe to call from several threads."""

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        """float32 [N, C, H, W] -> output name -> float32 [N, ...]."""


def default_threads() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def open_session(
    path: Path, engine: Engine, numerics: Numerics, threads: int = 0, *, side_by_side: bool = False
) -> Session:
    """Compiles a network for this machine.

    Args:
        path: an .xml with its .bin beside it, or an .onnx.
        numerics: of the arithmetic. int8 files contain their quantisation; f32 and bf16 are set explicitly, because
            OpenVINO would choose bfloat16 itself on a CPU that has it.
        threads: cores to use, 0 for all.
        side_by_side: each of `threads` concurrent calls gets one core. Otherwise all cores work on one call, which then
            takes less time.

    Raises:
        BundleError: the file cannot be read as a network.
    """
    count = threads or default_threads()
    try:
        if engine == "openvino":
            return _OpenVino(path, numerics, count, streams=count if side_by_side else 1)
        return _OnnxRuntime(path, 1 if side_by_side else count)  # each call in its caller's thread
    except Exception as error:
        raise BundleError(
            f"{path.name} cannot be loaded by {engine}: {first_line(error)}",
            expected="a complete exported network",
            fix="fetch the version again from the registry, or train it anew",
        ) from error


class _OpenVino:
    def __init__(self, path: Path, numerics: Numerics, threads: int, streams: int) -> None:
        import openvino

        core = openvino.Core()
        config = {
            "INFERENCE_PRECISION_HINT": "bf16" if numerics == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        }
        self._compiled = core.compile_model(core.read_model(path), "CPU", config)
        self._names = [output.get_any_name() for output in self._compiled.outputs]
        self._pool: list[object] = []  # idle infer requests; list append and pop are atomic

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        try:
            request = self._pool.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.infer({0: batch}, share_inputs=True)  # type: ignore[attr-defined]
            return {
                name: np.array(request.get_output_tensor(i).data, dtype=np.float32)  # type: ignore[attr-defined]
                for i, name in enumerate(self._names)
            }
        finally:
            self._pool.append(request)


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        values = self._session.run(self._names, {self._input: batch})
        return {name: np.asarray(v, dtype=np.float32) for name, v in zip(self._names, values, strict=True)}
