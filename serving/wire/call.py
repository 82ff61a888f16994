"""One call of a served version: which version, for whom, and what came of it. What a service, its tasks and its answers
share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.core.errors import BadInput
from registry.core.media import Prediction

if TYPE_CHECKING:
    from registry.versions.explain import Explanation

CALLER_HEADER, ROLE_HEADER = "X-Caller", "X-Release-Role"
"""Headers by which the router tells a service who calls, and in which role the version answers."""
TASK_OWNER_HEADER = "X-Tasks-Of"
"""The caller whose tasks a request is about; without it, everyone's. Only the router's doorkeeper may set it."""
PREFIX_HEADER = "X-Forwarded-Prefix"
"""What the router has taken off the path of a request."""

WATCH_AFTER_S = 0.1
"""Quick answers are not worth watching whether their caller is still there."""

_ID = "prediction_id"


@dataclass(frozen=True)
class ServedVersion:
    """Which version this process serves.

    Attributes:
        version: number in the registry.
        digest: of the bundle.
        role: part the version plays in the release: `champion` until there are others.
    """

    model: str
    version: int
    digest: str
    role: str = "champion"


@dataclass(frozen=True, eq=False)
class Outcome:
    """A prediction that is already in the log.

    Attributes:
        id: uuid4, hex.
        payload: the result encoded as the caller asked for, or None when JSON was asked for.
        elapsed_ms: bytes in to bytes out, without the network between caller and service.
        image: the annotated picture for the JSON answer, a JPEG.
        explanation: the heat map; a BadInput where there was nothing to explain.
    """

    id: str
    prediction: Prediction
    payload: bytes | None
    elapsed_ms: float
    image: bytes | None = None
    explanation: Explanation | BadInput | None = None


@dataclass(frozen=True)
class RequestContext:
    """By whom, and in which part, a prediction was asked for.

    Attributes:
        caller: key or address, for the log.
        role: part that the version plays for this request: champion, canary, shadow, a or b.
    """

    caller: str = ""
    role: str = "champion"


def prediction_id_of(error: BaseException) -> str:
    """The id under which a prediction that ended in `error` is in the log; empty if it is in none."""
    return str(getattr(error, _ID, ""))


def attach_prediction_id(error: BaseException, prediction_id: str) -> None:
    """Notes under which id a prediction that ended in `error` is in the log."""
    setattr(error, _ID, prediction_id)
