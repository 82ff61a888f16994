"""Reads weights from Keras files without Keras: the network that a file describes is neither built nor executed.

Both formats are read: `.keras` and `.weights.h5` of Keras 3, which number a layer's variables and store its name beside
them, and the older `.h5`, whose paths are the names.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NORMAL = ("gamma", "beta", "moving_mean", "moving_variance")
VARIABLES = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": NORMAL,
}
"""Keras 3's order of the variables in a layer, by the layer's kind."""


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by `<layer>/<variable>`, or by their path in files older than Keras 3; without those of the optimizer.

    Raises:
        ValueError: a data set refers to another file.
        Others: errors of zipfile and h5py, for a file that is damaged or of another format.
    """
    import h5py

    body: Any = path
    if path.suffix.lower() == ".keras":
        with zipfile.ZipFile(path) as archive:
            body = io.BytesIO(archive.read("model.weights.h5"))
    found: dict[str, NDArray[Any]] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu" or name.startswith("optimizer"):
            return
        if item.external or item.is_virtual:  # of a hostile file: any file of this machine would become weights
            raise ValueError(f"{name} lies in another file")
        found[_name(name, item)] = np.asarray(item)

    with h5py.File(body, "r") as file:
        file.visititems(visit)
    return found


def _name(path: str, item: Any) -> str:
    """`layers/conv2d_3/vars/0` of the layer "stem" -> `stem/kernel`; whatever is not named so, by its path."""
    *_, kind, holder, number = ("", "", *path.split("/"))
    layer = item.parent.attrs.get("name")
    variables = VARIABLES.get(re.sub(r"_\d+$", "", kind), ())
    count = len(item.parent)
    # A normalisation without scale or centre has fewer, and does not say which.
    if holder != "vars" or not layer or count > len(variables) or (variables is NORMAL and count < len(NORMAL)):
        return path.removeprefix("model_weights/").removesuffix(":0")
    return f"{layer}/{variables[int(number)]}"
