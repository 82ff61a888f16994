"""The contract of a model folder: one protocol per module in `registry/models/<name>/`.

| module         | protocol        | may import                    | used by                        |
|----------------|-----------------|-------------------------------|--------------------------------|
| `__init__.py`  | `SPEC`          | registry only                 | everyone                       |
| `data.py`      | `DataPart`      | NumPy, pandas, media readers  | data and retraining flows      |
| `inference.py` | `InferencePart` | NumPy, OpenCV, media readers  | training, evaluation, serving  |
| `render.py`    | `RenderPart`    | NumPy, OpenCV, media writers  | serving, reports               |
| `score.py`     | `ScorePart`     | NumPy                         | evaluation, monitoring         |
| `shift.py`     | `ShiftPart`     | NumPy, SciPy, media           | `visionloop break`, tests      |
| `network.py`   | by framework    | the framework                 | training only                  |

A module satisfies a protocol by having its functions; `tests/registry/contract/test_conformance.py` runs over every
folder and checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from registry.cases.records import AddResult, Check, ImportResult, LabelledInput
from registry.cases.splits import Shares
from registry.core.media import ByteArray, Case, Clip, FloatArray, OnProgress, Parameters, Prediction, Prepared, Result

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class DataPart(Protocol):
    def synthesise(self, out: Path, params: Parameters) -> None:
        """Writes the starter data set into `out` (which is empty); bit-identical for the same `params`."""

    def synthesise_stream(self, count: int, seed: int) -> list[LabelledInput]:
        """Fresh inputs with labels, from the starter data's distribution, in none of its splits."""

    def import_from(self, source: Path, out: Path, params: Parameters) -> ImportResult:
        """Copies a user's own data into `out` (which is empty). Raises DataError naming the files."""

    def cases(self, root: Path) -> list[Case]:
        """All labelled cases of the data set at `root`, sorted by id. Raises DataError if it is not one."""

    def inspect(self, root: Path) -> pd.DataFrame:
        """One row per case, with a column `case` and whatever `checks` look at; never raises for a bad file:
        what is wrong with it becomes a column's value."""

    def checks(self) -> Sequence[Check]:
        """What must hold of `inspect`'s table before anything is trained on it."""

    def add(self, root: Path, items: Sequence[LabelledInput], origin: str, shares: Shares) -> AddResult:
        """Adds labelled inputs as new cases with that origin, each to the part that `shares` gives its id. Idempotent
        by id. One that cannot be used keeps nothing else back. Raises DataError if there is no data set at `root`."""

    def move(self, root: Path, cases: Collection[str], split: str) -> None:
        """Puts these cases into another part of the data set at `root`, files and table."""


class InferencePart(Protocol):
    def decode(self, body: bytes, limit: int) -> Any:
        """Bytes as uploaded -> sample of at most `limit` voxels, or pixels (of a frame). Raises BadInput,
        UnsupportedMedia or TooLarge, before allocating."""

    def preprocess(self, sample: Any, constants: Parameters) -> Prepared:
        """Sample -> network input. `constants` is `preprocessing` of the bundle."""

    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Result:
        """Network outputs -> result in the sample's own coordinates. `thresholds` is the bundle's."""

    PLAUSIBLE: Mapping[str, tuple[float, float, str]]
    """Image statistic -> the range outside of which an input is broken rather than new, and what it then is, e.g.
    {"polarity": (-1.0, 0.2, "the grey scale is inverted")}. {} where nothing can be said."""

    def image_statistics(self, sample: Any) -> dict[str, float]:
        """Finite numbers that move when the camera, the scanner or the light does."""

    def focus(
        self, sample: Any, prepared: Prepared, result: Any
    ) -> tuple[int, ByteArray, tuple[float, float, float, float]]:
        """What an explanation is about: the element of `prepared.batch`, the picture that its heat map is drawn over
        (uint8 [h, w, 3] BGR), and the rectangle (x1, y1, x2, y2) of the network's input, in its pixels, that shows the
        whole of that picture. Raises BadInput where there is nothing to explain."""

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Any) -> FloatArray:
        """How strongly each of M outputs, of M changed copies of that one element, still says what `result` says:
        float32 [M], the more the stronger, e.g. the probability of the class that `result` names."""


class ClipPart(Protocol):
    """What `inference.py` also has where `decode` may give a `Clip`; `registry.vision_tasks.clips.follower` makes it of
    a detector's other functions. Nothing of it in models of pictures and volumes only."""

    def follow(
        self,
        clip: Clip,
        network: Callable[[FloatArray], dict[str, FloatArray]],
        constants: Parameters,
        thresholds: Parameters,
        media: str,
        told: OnProgress | None,
    ) -> Prediction:
        """Predicts a clip in bounded memory; `seconds` by step, which may overlap.

        Args:
            network: any batch, float32 [N, C, H, W] -> outputs.
            media: content type that is asked for: `video/webm` makes the result hold the annotated video.
        """


class RenderPart(Protocol):
    FORMATS: Mapping[str, Callable[[Any, Result], bytes]]
    """Content type -> encoder, for every entry of `spec.media_out` but application/json."""

    def picture(self, sample: Any, result: Result | None = None, truth: Any = None) -> bytes:
        """A JPEG for people: the input, with the result (and the truth, outlined) drawn over it."""


class ScorePart(Protocol):
    def truth(self, label: Path | bytes | str) -> Any:
        """Reads a label: the file of a `Case`, or its bytes. A str only where a label is a class's name.

        Raises BadInput if it is none."""

    LABEL: str
    """What a label is, for the person who sends one: `the name of a class`."""

    def check(self, label: bytes | str, body: bytes) -> None:
        """Raises BadInput where `label`, as somebody gave it, is none of this input: before it is kept, or learned.

        Args:
            body: the input as it was uploaded, or its first 64 KiB. Memory taken does not
                grow with what a compressed label unpacks to.
        """

    def result_of(self, truth: Any, sample: Any) -> Result:
        """What a perfect model answers, as far as the metric looks at it. The conformance test holds starter data,
        label files and metric to it."""

    def positive(self, truth: Any) -> bool:
        """Whether the case shows what the metric is about: average precision says nothing of pictures without a true
        box, unless that is all there is. A bootstrap draws no sample without a positive case where there is one."""

    def score(self, results: Sequence[Result], truths: Sequence[Any]) -> float:
        """The metric over any number of cases (one, or a bootstrap sample)."""

    def per_class(self, results: Sequence[Result], truths: Sequence[Any]) -> dict[str, float]:
        """The metric class by class; {} when there is one class."""


class ShiftPart(Protocol):
    HOW: Mapping[str, str]
    """Kind of shift -> one line about it. The first is the demo's."""

    def shift(self, body: bytes, how: str, severity: float, seed: int) -> bytes:
        """An input as uploaded -> the same, shifted. `severity` in (0, 1]; labels stay valid."""
