"""Masks in picture files: a grey value, or the index of a palette, for each class. 0: none of them; n: the n-th."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from registry.core.errors import BadInput, TooLarge
from registry.core.media import MAX_CASE_PIXELS, ByteArray
from registry.vision import headers
from registry.vision.drawing import class_colour

VOID = 255
"""In a mask of several classes: a pixel that nobody labelled, as in Pascal VOC. Read as none of the classes."""


@dataclass(frozen=True)
class MaskLabel:
    """A mask as a data set keeps it.

    Attributes:
        png: see `encode`.
        names: the classes that it shows.
        width, height: in pixels.
        soft: the file held greys between black and white, as JPEG and smooth edges do.
    """

    png: bytes
    names: tuple[str, ...]
    width: int
    height: int
    soft: bool = False


def mask_path(root: Path, file: str) -> Path:
    """`images/train/x.jpg` -> `root/masks/train/x.png`."""
    return root.joinpath("masks", *Path(file).parts[1:]).with_suffix(".png")


def label_text(classes: Sequence[str]) -> str:
    """What a mask is, for the person who sends one."""
    values = ", ".join(f"{number} {name}" for number, name in enumerate(classes[:20], start=1))
    several = f"0 none of the classes, {values}" if len(classes) > 1 else f"0 none, 1 or 255 {classes[0]}"
    return f"a PNG mask of the picture's size, grey or with a palette: {several}"


def decode(body: bytes, classes: Sequence[str]) -> tuple[ByteArray, bool]:
    """A mask, uint8 [H, W], and whether it is soft (`MaskLabel.soft`).

    Of one class, any palette colour but black is it, and greys from half of white on, or 1 where there is nothing else.

    Raises:
        BadInput: not a picture that can be read, colours without a palette, or a value that no class has.
        TooLarge: more than `MAX_CASE_PIXELS`.
    """
    header = headers.read(body)
    if header.width * header.height > MAX_CASE_PIXELS:
        raise TooLarge(f"the mask is {header.width} x {header.height} pixels", fix="scale picture and mask down")
    one = len(classes) == 1
    if header.image is None or (header.format == "JPEG" and not one):
        raise _no_mask(f"the mask is a {header.format} picture", classes)
    values = _values(header.image, one, classes)
    if one:
        soft = bool(((values > 1) & (values < VOID)).any())
        return (values >= (128 if values.max() > 1 else 1)).astype(np.uint8), soft
    values = np.where(values == VOID, 0, values)
    if values.max() > len(classes):
        raise _no_mask(f"the mask holds the value {values.max()}", classes)
    return values.astype(np.uint8), False


def _values(image: Image.Image, one: bool, classes: Sequence[str]) -> np.ndarray:
    try:
        image.load()
        if one and image.mode == "P":
            return np.asarray(np.asarray(image.convert("RGB")).any(axis=2), dtype=np.uint8)
        values = np.asarray(image)
    except Exception as error:  # hostile bytes can make PIL's decoders raise anything
        raise _no_mask(f"the mask cannot be decoded: {error}", classes) from error
    if values.ndim == 3:
        colours = values[:, :, :3] if values.shape[2] >= 3 else values[:, :, :1]
        if (colours != colours[:, :, :1]).any():
            raise _no_mask("the mask has colours", classes)
        values = colours[:, :, 0]
    return values


def label_of(body: bytes, classes: Sequence[str], numbers: Sequence[int] = ()) -> MaskLabel:
    """A mask of somebody's, as a data set keeps it. Raises as `decode`.

    Args:
        numbers: the model's class number for each value of the mask, where the source numbers its classes otherwise.
    """
    mask, soft = decode(body, [str(n) for n in range(1, len(numbers))] if numbers else classes)
    if numbers:
        mask = np.asarray(numbers, dtype=np.uint8)[mask]
    names = tuple(name for number, name in enumerate(classes, start=1) if (mask == number).any())
    return MaskLabel(encode(mask, len(classes)), names, mask.shape[1], mask.shape[0], soft)


def encode(mask: ByteArray, classes: int) -> bytes:
    """uint8 [H, W] -> a PNG whose palette's indices are the values, and its colours those of the classes; white where
    there is one class only. Programs read the numbers, and people see the mask."""
    colours = [class_colour(number)[::-1] for number in range(classes)] if classes > 1 else [(255, 255, 255)]
    image = Image.fromarray(mask)
    image.putpalette([0, 0, 0, *(value for colour in colours for value in colour)])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def check_size(label: MaskLabel, width: int, height: int) -> None:
    """Raises BadInput where a mask is not of its picture's size, as a person sees the picture."""
    if (label.width, label.height) != (width, height):
        raise BadInput(
            f"the mask has {label.width} x {label.height} pixels",
            expected=f"the picture's {width} x {height}",
            fix="draw the mask on the picture that it belongs to, turned as a person sees it",
        )


def _no_mask(found: str, classes: Sequence[str]) -> BadInput:
    return BadInput(
        found, expected=label_text(classes), fix="export the mask with the number of the class as its value"
    )
