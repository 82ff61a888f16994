"""Exports a trained network to ONNX and OpenVINO IR, for any batch size, and quantises it to int8."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.core.media import FloatArray

if TYPE_CHECKING:
    from torch import nn

INPUT = "image"
OPSET = 17


def to_onnx(model: nn.Module, outputs: Sequence[str], shape: tuple[int, ...], path: Path) -> Path:
    """Writes `path`: input `image` float32 [N, C, H, W], outputs as named. Weights are inside."""
    import torch

    names = [INPUT, *outputs]
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated, but exact and four times as fast as the new one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.cpu().eval().to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            (torch.zeros(1, *shape),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in names},
        )
    return path


def to_openvino(onnx: Path, path: Path) -> Path:
    """Writes `path` (.xml) and the .bin beside it, weights in float32."""
    import openvino

    openvino.save_model(openvino.convert_model(onnx), path, compress_to_fp16=False)
    return path


def to_int8(ir: Path, batches: Sequence[FloatArray], path: Path, leave: Sequence[str] = ()) -> Path:
    """Post-training quantisation by NNCF: ranges from `batches`, each float32 [1, C, H, W]; nodes whose names match a
    pattern of `leave` keep their precision."""
    import openvino

    # It reports twice that there is no GPU, and draws progress bars over ours.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    # Not nncf.set_log_level: it also changes handlers, which may belong to others such as pytest.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    model = openvino.Core().read_model(ir)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where TensorFlow was imported first, torch says that it finds no CUDA
        quantised = nncf.quantize(
            model,
            nncf.Dataset(list(batches)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(patterns=list(leave), validate=False) if leave else None,
        )
    openvino.save_model(quantised, path, compress_to_fp16=False)
    return path


def size_mb(path: Path) -> float:
    """Of an .onnx, or of an .xml with its .bin, in MB (10^6 bytes)."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files) / 1e6
