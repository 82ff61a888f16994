"""One call of a served version: which version, for whom, and its outcome. Shared by a service, its tasks and its
answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.core.errors import BadInput
from registry.core.media import Prediction

if TYPE_CHECKING:
    from registry.versions.explain import Explanation

WATCH_AFTER_S = 0.1
"""Quicker answers are not worth watching whether their caller is still there."""


@dataclass(frozen=True)
class ServedVersion:
    """Which version this process serves.

    Attributes:
        version: number in the registry.
        digest: of the bundle.
        role: part that the version plays in the release: `live` until there are others.
    """

    model: str
    version: int
    digest: str
    role: str = "live"


@dataclass(frozen=True, eq=False)
class Outcome:
    """A prediction that is already in the log.

    Attributes:
        id: uuid4, hex.
        findings: what a JSON answer says of the result.
        payload: the result in the format that the caller asked for; None for JSON.
        elapsed_ms: bytes in to bytes out, without the network between caller and service.
        image: the annotated picture for the JSON answer, a JPEG.
        explanation: the heat map; a BadInput where there was nothing to explain.
    """

    id: str
    prediction: Prediction
    findings: dict[str, Any]
    payload: bytes | None
    elapsed_ms: float
    image: bytes | None = None
    explanation: Explanation | BadInput | None = None


@dataclass(frozen=True)
class RequestContext:
    """Who asked for a prediction, and in which role the version answers.

    Attributes:
        caller: key or address, for the log.
        role: live, canary, shadow, a or b.
    """

    caller: str = ""
    role: str = "live"


def attach_prediction_id(error: BaseException, prediction_id: str) -> None:
    """Notes the id under which the prediction that ended in `error` is in the log."""
    error.prediction_id = prediction_id  # type: ignore[attr-defined]


def prediction_id_of(error: BaseException) -> str:
    """The id that `attach_prediction_id` noted; empty if the log has no prediction of it."""
    return str(getattr(error, "prediction_id", ""))
