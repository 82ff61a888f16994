"""The contract of a model: one base class per part, and `Model`, which holds the parts.

`registry/models/<name>/` has `__init__.py` with `SPEC` and `model.py` with `MODEL`. `registry.vision_tasks` builds the
parts of an ordinary model (`classifier`, `detector`); a particular one overrides methods or writes parts of its own.

| part        | class           | may import                    | used by                        |
|-------------|-----------------|-------------------------------|--------------------------------|
| `data`      | `DataPart`      | NumPy, pandas, media readers  | data and retraining flows      |
| `inference` | `InferencePart` | NumPy, OpenCV, media readers  | training, evaluation, serving  |
| `render`    | `RenderPart`    | NumPy, OpenCV, media writers  | serving, reports               |
| `score`     | `ScorePart`     | NumPy                         | evaluation, monitoring         |
| `shift`     | `ShiftPart`     | NumPy, media                  | `visionloop break`, tests      |
| `network`   | `NetworkPart` (`registry.contract.hooks`) | the framework | training only           |

A service imports `model.py`, and never what `data` and `network` load.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.cases.records import AddResult, Check, ImportResult, LabelledInput
from registry.cases.splits import Shares
from registry.core.errors import BadInput, NotFound
from registry.core.media import ByteArray, Case, Clip, FloatArray, OnProgress, Parameters, Prediction, Prepared, Result

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from registry.contract.curves import PrecisionRecall
    from registry.contract.hooks import NetworkPart


class DataPart(ABC):
    """A data set on disk: making, importing, reading, checking and adding to it."""

    @property
    def has_starter(self) -> bool:
        """Whether `synthesise` and `synthesise_stream` can draw cases."""
        return True

    def synthesise(self, out: Path, params: Parameters) -> None:
        """Writes the starter data set into `out` (which is empty); bit-identical for the same `params`.

        Raises:
            NotFound: the model has no starter data.
        """
        raise self.no_starter()

    def synthesise_stream(self, count: int, seed: int) -> list[LabelledInput]:
        """Fresh inputs with labels, from the starter data's distribution, in none of its splits. Raises NotFound."""
        raise self.no_starter()

    @staticmethod
    def no_starter(model: str = "this model") -> NotFound:
        return NotFound(
            f"{model} has no starter data",
            expected="data of your own",
            fix="import it: `visionloop data import MODEL PATH`",
        )

    @abstractmethod
    def import_from(self, source: Path, out: Path, params: Parameters) -> ImportResult:
        """Copies a user's own data into `out` (which is empty). Raises DataError naming the files."""

    @abstractmethod
    def cases(self, root: Path) -> list[Case]:
        """All labelled cases of the data set at `root`, sorted by id. Raises DataError if it is not one."""

    def own_classes(self, root: Path) -> tuple[str, ...] | None:
        """The classes of the data set at `root`, where the data brings some of its own; None: the model's."""
        return None

    def lacks(self, root: Path) -> str:
        """What a training on the data set at `root` cannot learn, although it passes the checks; "" if nothing."""
        return ""

    @abstractmethod
    def inspect(self, root: Path) -> pd.DataFrame:
        """One row per case, with a column `case` and whatever `checks` look at; never raises for a bad file:
        what is wrong with it becomes a column's value."""

    @abstractmethod
    def checks(self) -> Sequence[Check]:
        """What must hold of `inspect`'s table before anything is trained on it."""

    @abstractmethod
    def add(self, root: Path, items: Sequence[LabelledInput], origin: str, shares: Shares) -> AddResult:
        """Adds labelled inputs as new cases with that origin, each to the part that `shares` gives its id. Idempotent
        by id. One that cannot be used keeps nothing else back. Raises DataError if there is no data set at `root`."""

    @abstractmethod
    def move(self, root: Path, cases: Collection[str], split: str) -> None:
        """Puts these cases into another part of the data set at `root`, files and table."""


class InferencePart(ABC):
    """Bytes -> sample -> network input, and network outputs -> result."""

    PLAUSIBLE: Mapping[str, tuple[float, float, str]] = {}
    """Image statistic -> the range outside of which an input is broken rather than new, and what it then is, e.g.
    {"polarity": (-1.0, 0.2, "the grey scale is inverted")}. {} where nothing can be said."""

    @abstractmethod
    def decode(self, body: bytes, limit: int) -> Any:
        """Bytes as uploaded -> sample of at most `limit` voxels, or pixels (of a frame). Raises BadInput,
        UnsupportedMedia or TooLarge, before allocating."""

    @abstractmethod
    def preprocess(self, sample: Any, constants: Parameters) -> Prepared:
        """Sample -> network input. `constants` is `preprocessing` of the bundle."""

    @abstractmethod
    def postprocess(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters) -> Result:
        """Network outputs -> result in the sample's own coordinates. `thresholds` is the bundle's."""

    @abstractmethod
    def image_statistics(self, sample: Any) -> dict[str, float]:
        """Finite numbers that move when the camera, the scanner or the light does."""

    def answer(
        self, outputs: Mapping[str, np.ndarray], prepared: Prepared, thresholds: Parameters, asked: Parameters
    ) -> Result:
        """As `postprocess`, with the parameters that a caller asked for in place of the version's own."""
        raise BadInput("this model takes no parameters", expected="a detector", fix="ask without them")

    def focus(
        self, sample: Any, prepared: Prepared, result: Any
    ) -> tuple[int, ByteArray, tuple[float, float, float, float]]:
        """What an explanation is about: the element of `prepared.batch`, the picture that its heat map is drawn over
        (uint8 [h, w, 3] BGR), and the rectangle (x1, y1, x2, y2) of the network's input, in its pixels, that shows the
        whole of that picture. Raises BadInput where there is nothing to explain."""
        raise BadInput("this model explains nothing", expected="a model with explanations", fix="ask without `explain`")

    def evidence(self, outputs: Mapping[str, np.ndarray], prepared: Prepared, result: Any) -> FloatArray:
        """How strongly each of M outputs, of M changed copies of that one element, still says what `result` says:
        float32 [M], the more the stronger, e.g. the probability of the class that `result` names."""
        raise BadInput("this model explains nothing", expected="a model with explanations", fix="ask without `explain`")

    def follow(
        self,
        clip: Clip,
        network: Callable[[FloatArray], dict[str, FloatArray]],
        constants: Parameters,
        thresholds: Parameters,
        media: str,
        on_progress: OnProgress | None,
    ) -> Prediction:
        """Predicts a clip in bounded memory; `seconds` by step, which may overlap. Only where `decode` gives clips.

        Args:
            network: any batch, float32 [N, C, H, W] -> outputs.
            media: the content type of the answer: for `video/webm` the result holds the annotated video.
            on_progress: see `registry.core.media.OnProgress`.
        """
        raise BadInput("the input is a video", expected="a picture", fix="send one frame of it")

    def assets(self) -> Mapping[str, Path]:
        """Files that inference needs besides the network, by the name that they get in the bundle."""
        return {}


class RenderPart(ABC):
    """Pictures for people, and encoders."""

    @property
    @abstractmethod
    def FORMATS(self) -> Mapping[str, Callable[[Any, Any], bytes]]:
        """Content type -> encoder of (sample, result), for every entry of `spec.media_out` but application/json."""

    @abstractmethod
    def picture(self, sample: Any, result: Any = None, truth: Any = None) -> bytes:
        """A JPEG for people: the input, with the result (and the truth, outlined) drawn over it."""

    def upright(self, pixels: ByteArray, sample: Any) -> ByteArray:
        """A picture, uint8 [H, W, 3] BGR, of what the network sees, turned as a person wants to see it."""
        return pixels


class ScorePart(ABC):
    """Labels and the metric."""

    LABEL: str
    """What a label is, for the person who sends one: `the name of a class`."""

    @abstractmethod
    def truth(self, label: Path | bytes | str) -> Any:
        """Reads a label: the file of a `Case`, or its bytes. A str only where a label is a class's name.

        Raises BadInput if it is not a label."""

    def check(self, label: bytes | str, body: bytes) -> None:
        """Raises BadInput where `label`, as somebody gave it, is not one of this input: before it is kept, or learned.

        Args:
            body: the input as it was uploaded, or its first 64 KiB. Memory taken does not
                grow with what a compressed label unpacks to.
        """
        self.truth(label)

    @abstractmethod
    def result_of(self, truth: Any, sample: Any) -> Result:
        """What a perfect model answers, as far as the metric looks at it. The conformance test holds starter data,
        label files and metric to it."""

    def compact(self, one: Any) -> Any:
        """A result or a truth as it is kept while a whole test part is scored: small, and of the same use."""
        return one

    def positive(self, truth: Any) -> bool:
        """Whether the case shows what the metric is about: average precision says nothing of pictures without a true
        box, unless that is all there is. A bootstrap draws no sample without a positive case where there is one."""
        return True

    @abstractmethod
    def score(self, results: Sequence[Any], truths: Sequence[Any]) -> float:
        """The metric over any number of cases (one, or a bootstrap sample)."""

    def per_class(self, results: Sequence[Any], truths: Sequence[Any]) -> dict[str, float]:
        """The metric class by class; {} when there is one class."""
        return {}

    def curve(self, results: Sequence[Any], truths: Sequence[Any]) -> PrecisionRecall | None:
        """Precision and recall at every score; None where results have no scored boxes."""
        return None


class ShiftPart(ABC):
    """What may happen to inputs in the field."""

    HOW: Mapping[str, str]
    """Kind of shift -> one line about it. The first is the demo's."""

    @abstractmethod
    def shift(self, body: bytes, how: str, severity: float, seed: int) -> bytes:
        """An input as uploaded -> the same, shifted. `severity` in (0, 1]; labels stay valid."""


@dataclass(frozen=True)
class Model:
    """All parts of a model. What no service needs (`shift`, `data`, `network`) is made when it is first asked for."""

    inference: InferencePart
    render: RenderPart
    score: ScorePart
    make_shift: Callable[[], ShiftPart]
    make_data: Callable[[], DataPart]
    make_network: Callable[[], NetworkPart]

    @cached_property
    def shift(self) -> ShiftPart:
        return self.make_shift()

    @cached_property
    def data(self) -> DataPart:
        return self.make_data()

    @cached_property
    def network(self) -> NetworkPart:
        return self.make_network()


def load(target: str) -> Any:
    """What `package.module:name` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
