"""Draws results over pictures for people. Functions take and return uint8 [H, W, 3] BGR and do not change their input.

Legible on any background: lines have a dark seam, text has a plate. Each class has its own colour, from Okabe and Ito's
palette for the colour-blind (Color Universal Design, 2008) and its lighter and darker mixtures; the name is always
written as well. By hand: supervision's annotators would bring SciPy and matplotlib into every service.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from registry.core.media import ByteArray, FloatArray

Colour = tuple[int, int, int]
"""Blue, green, red in 0..255."""

INK: Colour = (24, 20, 16)
PAPER: Colour = (250, 248, 246)
TRUTH: Colour = (110, 220, 40)

_OKABE_ITO: tuple[Colour, ...] = (
    (0, 159, 230),  # orange
    (233, 180, 86),  # sky blue
    (167, 121, 204),  # reddish purple
    (66, 228, 240),  # yellow
    (178, 114, 0),  # blue
    (0, 94, 213),  # vermilion
    (115, 158, 0),  # bluish green
)
_Corners = tuple[int, int, int, int]  # x1, y1, x2, y2
_FONT = cv2.FONT_HERSHEY_DUPLEX


def class_colour(index: int) -> Colour:
    """The colour of class number `index`: seven colours, then lighter, then darker ones; repeats after 21."""
    tint, number = divmod(index, len(_OKABE_ITO))
    base = _OKABE_ITO[number]
    return (base, _mixed(base, PAPER, 0.5), _mixed(base, INK, 0.45))[tint % 3]


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    blue, green, red = (round(x * (1 - share) + y * share) for x, y in zip(a, b, strict=True))
    return blue, green, red


def enlarge(pixels: ByteArray, least: int = 480) -> tuple[ByteArray, int]:
    """Scales a small picture until its longer side is near `least` pixels, to make room for text.

    Returns:
        The picture, and the whole number that it was scaled by.
    """
    factor = max(1, round(least / max(pixels.shape[:2])))
    if factor == 1:
        return pixels, 1
    size = pixels.shape[1] * factor, pixels.shape[0] * factor
    return cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False), factor


@dataclass(frozen=True)
class Style:
    """Widths of lines and pen in pixels, and OpenCV's scale of text, for the size of a picture."""

    line: int
    text: float
    pen: int

    @classmethod
    def of(cls, pixels: ByteArray) -> Style:
        edge = float(np.sqrt(pixels.shape[0] * pixels.shape[1]))
        text = float(np.clip(edge / 1300, 0.38, 2.2))
        return cls(line=max(2, round(edge / 320)), text=text, pen=max(1, round(text * 1.5)))


def draw_boxes(pixels: ByteArray, where: FloatArray, labels: Sequence[str], classes: Sequence[int]) -> ByteArray:
    """Draws boxes with their labels.

    Args:
        where: float [N, 4], (x1, y1, x2, y2) in pixels of the picture.
        labels: N texts, e.g. `knife 87 %`; "" for a box without a label.
        classes: N class numbers, for the colours.
    """
    canvas, style = pixels.copy(), Style.of(pixels)
    corners = [_whole(box, pixels) for box in np.asarray(where, dtype=np.float64).reshape(-1, 4)]
    for (x1, y1, x2, y2), number in zip(corners, classes, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), INK, style.line + 2)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), class_colour(number), style.line)
    taken: list[_Corners] = []
    for corner, label, number in zip(corners, labels, classes, strict=True):
        if label:
            taken.append(_plate(canvas, corner, label, class_colour(number), style, taken))
    return canvas


def draw_truths(pixels: ByteArray, where: FloatArray, labels: Sequence[str] = ()) -> ByteArray:
    """Draws true boxes, dashed and green, with `labels` at their lower edges. `where` as in `draw_boxes`."""
    canvas, style = pixels.copy(), Style.of(pixels)
    for n, box in enumerate(np.asarray(where, dtype=np.float64).reshape(-1, 4)):
        x1, y1, x2, y2 = corner = _whole(box, pixels)
        for a, b in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
            _dashed(canvas, a, b, style.line)
        if n < len(labels) and labels[n]:
            _plate(canvas, (corner[0], corner[3], corner[2], corner[3]), labels[n], TRUTH, style, [], low=True)
    return canvas


def _whole(box: np.ndarray, pixels: ByteArray) -> _Corners:
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, (width - 1, height - 1) * 2).astype(int).tolist()
    return x1, y1, x2, y2


def _dashed(canvas: ByteArray, a: tuple[int, int], b: tuple[int, int], line: int) -> None:
    length = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    dash = 5 * line
    cv2.line(canvas, a, b, INK, line + 2)
    for start in range(0, length + 1, 2 * dash):
        ends = [start / max(length, 1), min(start + dash, length) / max(length, 1)]
        p, q = ((round(a[0] + (b[0] - a[0]) * t), round(a[1] + (b[1] - a[1]) * t)) for t in ends)
        cv2.line(canvas, p, q, TRUTH, line)


def _plate(
    canvas: ByteArray,
    box: _Corners,
    label: str,
    fill: Colour,
    style: Style,
    taken: Sequence[_Corners],
    low: bool = False,
) -> _Corners:
    """Writes the label above, inside or below the box: at the first place that no other plate covers."""
    height, width = canvas.shape[:2]
    label = to_ascii(label)
    (across, up), drop = cv2.getTextSize(label, _FONT, style.text, style.pen)
    pad = max(2, round(4 * style.text))
    wide, tall = across + 2 * pad, up + drop + pad
    left = min(max(0, box[0] - style.line // 2), max(0, width - wide))
    tops = [box[1] - tall, box[1] + style.line, box[3] + style.line, box[3] - tall - style.line]
    tops = [top for top in (tops[2:] if low else tops) if 0 <= top <= height - tall] or [max(0, height - tall)]
    places = [(left, top, left + wide, top + tall) for top in tops]
    place = next((p for p in places if not any(_meet(p, t) for t in taken)), places[0])
    x1, y1, x2, y2 = place
    cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), fill, cv2.FILLED)
    at = (x1 + pad, y1 + pad // 2 + up)
    cv2.putText(canvas, label, at, _FONT, style.text, ink_on(fill), style.pen, cv2.LINE_AA)
    return place


def _meet(a: _Corners, b: _Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def ink_on(fill: Colour) -> Colour:
    """A colour for text on `fill` (luma as in ITU-R BT.601)."""
    return INK if 0.114 * fill[0] + 0.587 * fill[1] + 0.299 * fill[2] > 120 else PAPER


def to_ascii(text: str) -> str:
    """OpenCV's font has ASCII only: accents go, other characters become `?`."""
    letters = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return "".join(c for c in letters if not unicodedata.combining(c)).encode("ascii", "replace").decode("ascii")


def draw_bars(
    pixels: ByteArray,
    names: Sequence[str],
    values: Sequence[float],
    classes: Sequence[int] | None = None,
    truth: str = "",
    height: int = 360,
) -> ByteArray:
    """The picture, fitted into `height` pixels, with a bar for each of a classifier's top classes to its right.

    Args:
        names: the most likely first; it is written brighter.
        values: shares in [0, 1].
        classes: class numbers for the colours; by default the order.
        truth: the true class; marked if it is among `names`, else written below them.
    """
    size = round(pixels.shape[1] * height / pixels.shape[0])
    wide = int(np.clip(size, height // 3, height * 2))
    scale = min(wide / pixels.shape[1], height / pixels.shape[0])
    shown = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    panel = 330
    canvas = np.full((height, wide + panel, 3), INK, dtype=np.uint8)
    top, left = (height - shown[1]) // 2, (wide - shown[0]) // 2
    canvas[top : top + shown[1], left : left + shown[0]] = cv2.resize(pixels, shown, interpolation=way)
    rows = max(1, len(names)) + (1 if truth and truth not in names else 0)
    step = min(60, (height - 24) // rows)
    y = (height - step * rows) // 2
    for n, (name, value) in enumerate(zip(names, values, strict=True)):
        _bar(canvas, (wide + 18, y, wide + panel - 18), step, name, value, n if classes is None else classes[n], n == 0)
        if truth and name == truth:
            cv2.rectangle(canvas, (wide + 7, y + 3), (wide + 11, y + step - 3), TRUTH, cv2.FILLED)
        y += step
    if truth and truth not in names:
        cv2.putText(canvas, to_ascii(f"true: {truth}"), (wide + 18, y + step // 2), _FONT, 0.5, TRUTH, 1, cv2.LINE_AA)
    return canvas


def _bar(
    canvas: ByteArray, span: tuple[int, int, int], step: int, name: str, value: float, number: int, first: bool
) -> None:
    left, top, right = span
    base = top + step * 45 // 100
    text = 0.56 if step >= 34 else 0.42
    share = f"{100 * value:.1f} %"
    ink = PAPER if first else _mixed(PAPER, INK, 0.25)
    (taken, _), _ = cv2.getTextSize(share, _FONT, text, 1)
    cv2.putText(canvas, share, (right - taken, base), _FONT, text, ink, 1, cv2.LINE_AA)
    fitted = _fitted(name, right - left - taken - 12, text)
    cv2.putText(canvas, fitted, (left, base), _FONT, text, ink, 1, cv2.LINE_AA)
    y1, y2 = top + step * 58 // 100, top + step * 85 // 100
    cv2.rectangle(canvas, (left, y1), (right, y2), _mixed(INK, PAPER, 0.15), cv2.FILLED)
    long = round((right - left) * float(np.clip(value, 0, 1)))
    if long > 0:
        cv2.rectangle(canvas, (left, y1), (left + long, y2), class_colour(number), cv2.FILLED)


def _fitted(name: str, room: int, text: float) -> str:
    name = to_ascii(name)
    while len(name) > 3 and cv2.getTextSize(name, _FONT, text, 1)[0][0] > room:
        name = name[:-3].rstrip(" .") + ".."
    return name


def add_legend(pixels: ByteArray, entries: Sequence[tuple[str, Colour]], note: str = "") -> ByteArray:
    """The picture above a strip with a colour chip for each entry, and a note at the right. Long lines wrap."""
    width = max(pixels.shape[1], 320)
    places: list[tuple[int, int, str, Colour]] = []
    x, line = 12, 0
    for name, chip in entries:
        wide = 44 + _wide(name)
        if x > 12 and x + wide > width:
            x, line = 12, line + 1
        places.append((x, line, name, chip))
        x += wide
    line += bool(note) and x > 12 and x + _wide(note) + 12 > width
    strip = np.full((10 + 26 * (line + 1), width, 3), INK, dtype=np.uint8)
    for left, row, name, chip in places:
        base = 24 + 26 * row
        cv2.rectangle(strip, (left, base - 12), (left + 13, base + 1), chip, cv2.FILLED)
        _write(strip, name, (left + 20, base))
    if note:
        _write(strip, note, (max(12, width - 12 - _wide(note)), 24 + 26 * line))
    return _above(pixels, strip)


def _above(pixels: ByteArray, strip: ByteArray) -> ByteArray:
    """The picture, centred above a strip that is at least as wide."""
    room = strip.shape[1] - pixels.shape[1]
    body = cv2.copyMakeBorder(pixels, 0, 0, room // 2, room - room // 2, cv2.BORDER_CONSTANT, value=INK)
    return np.vstack([body, strip]).astype(np.uint8, copy=False)


def _wide(text: str) -> int:
    return int(cv2.getTextSize(to_ascii(text), _FONT, 0.46, 1)[0][0])


def _write(canvas: ByteArray, text: str, at: tuple[int, int]) -> None:
    cv2.putText(canvas, to_ascii(text), at, _FONT, 0.46, PAPER, 1, cv2.LINE_AA)


def draw_heat(pixels: ByteArray, warmth: FloatArray) -> ByteArray:
    """Lays a heat map over the picture; where it is cold, the picture is grey and dark.

    Args:
        warmth: float [h, w] in [0, 1], of any size, over the same field of view.
    """
    height, width = pixels.shape[:2]
    spread = cv2.resize(np.asarray(warmth, dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    levels = np.rint(np.clip(spread, 0, 1) * 255).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO).astype(np.float32)
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.float32)
    share = (0.15 + 0.60 * np.sqrt(levels.astype(np.float32) / 255))[:, :, None]
    mixed = grey * (1 - share) + coloured * share
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


STRIP, STRIP_WIDTH = 36, 420
"""Height and least width of the strip below a picture, in pixels. One size: pictures of one input line up."""


def add_heat_scale(pixels: ByteArray, cold: str = "does not matter", warm: str = "matters most") -> ByteArray:
    """The picture above a strip with the colours of `draw_heat`, from cold to warm."""
    width = max(pixels.shape[1], STRIP_WIDTH)
    strip = np.full((STRIP, width, 3), INK, dtype=np.uint8)
    x1, x2 = 24 + _wide(cold), width - 24 - _wide(warm)
    ramp = np.linspace(0, 255, max(2, x2 - x1)).astype(np.uint8)[None, :].repeat(12, axis=0)
    strip[12:24, x1 : x1 + ramp.shape[1]] = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)
    cv2.rectangle(strip, (x1 - 1, 11), (x1 + ramp.shape[1], 24), _mixed(INK, PAPER, 0.4), 1)
    _write(strip, cold, (12, 23))
    _write(strip, warm, (width - 12 - _wide(warm), 23))
    return _above(pixels, strip)
