"""The format of an answer: its media type, from the Accept header (RFC 9110, section 12.5.1), and what it includes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.core.errors import BadInput, NotAcceptable, did_you_mean

JSON, JPEG, NPY, WEBM = "application/json", "image/jpeg", "application/x-npy", "video/webm"
SHORT_NAMES = {JSON: "json", "application/x-nifti": "nifti", JPEG: "jpg", "image/png": "png"}
"""For `?format=`: browsers and forms cannot set Accept."""
PREDICTION_QUERY = ("format", "explain", "image")
"""The query parameters of a prediction."""
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


@dataclass(frozen=True)
class ResponseFormat:
    """What an answer holds.

    Attributes:
        media: its content type.
        explain: the heat map: in place of the picture, or in the JSON.
        image: the annotated picture in the JSON, too.
        embedding: the embedding in place of the findings.
        asked: the caller's parameters, as `registry.contract.parts.InferencePart.answer` takes them.
    """

    media: str
    explain: bool = False
    image: bool = False
    embedding: bool = False
    asked: Mapping[str, Any] = field(default_factory=dict)


def response_format(accept: str | None, query: Mapping[str, str], offers: Sequence[str]) -> ResponseFormat:
    """The format that the Accept header and the query (`format`, `explain`, `image`) ask for.

    Raises:
        NotAcceptable: as `choose_media`.
        BadInput: as `choose_media`; a flag that is neither true nor false; an explanation in a format that cannot hold
            it.
    """
    media = choose_media(accept, query.get("format"), offers)
    explain, image = (parse_flag(name, query.get(name, "")) for name in ("explain", "image"))
    if explain and media not in (JSON, JPEG):
        raise BadInput(
            f"an explanation was asked for as {media}",
            expected=f"{JSON} or {JPEG}",
            fix="change Accept or ?format=, or leave ?explain= out",
        )
    return ResponseFormat(media, explain, image and media == JSON and JPEG in offers)


def check_query(given: Iterable[tuple[str, str]], known: Sequence[str]) -> None:
    """Refuses a query parameter that is misspelt, or given twice. Raises BadInput."""
    seen = set[str]()
    for name, _ in given:
        if name not in known:
            raise BadInput(
                f"there is no query parameter {name[:40]!r}",
                expected=f"one of {', '.join(known)}" if known else "none",
                fix=did_you_mean(name, known, "leave it out"),
            )
        if name in seen:
            raise BadInput(f"the query has {name!r} more than once", expected="one", fix="leave the others out")
        seen.add(name)


def render_offers(media_out: Sequence[str], is_video: bool) -> tuple[str, ...]:
    """The formats that `render` offers, best first: for people, so WebM for a video, JPEG for anything else."""
    pictures = tuple(media for media in media_out if media not in (JSON, NPY))
    best = WEBM if is_video else JPEG
    return tuple(sorted(pictures, key=lambda media: media != best))


def parse_flag(name: str, value: str) -> bool:
    """The boolean query parameter `name`. Raises BadInput."""
    if value.lower() not in _FLAGS:
        raise BadInput(f"{name} is {value[:40]!r}", expected="true or false", fix=f"correct ?{name}=")
    return _FLAGS[value.lower()]


def short_name(media: str) -> str:
    return SHORT_NAMES.get(media, media.rpartition("/")[2].removeprefix("x-"))


def choose_media(accept: str | None, short: str | None, offers: Sequence[str]) -> str:
    """The best of `offers`, whose first is the default.

    Args:
        accept: the Accept header.
        short: the value of `?format=`, which takes precedence.

    Raises:
        NotAcceptable: none of the offers is acceptable (406).
        BadInput: an unknown short name.
    """
    if short:
        for offer in offers:
            if short.lower() in (short_name(offer), offer, offer.rpartition("/")[2]):
                return offer
        names = ", ".join(map(short_name, offers))
        raise BadInput(f"format is {short!r}", expected=f"one of {names}", fix="correct ?format=")
    if not accept or accept.strip() == "*/*":
        return offers[0]
    ranges = [_parse_range(part) for part in accept.split(",") if part.strip()]
    best, best_quality = None, 0.0
    for offer in offers:  # ties go to the earlier offer
        quality = max(((_specificity(r), q) for r, q in ranges if _matches(r, offer)), default=(0, 0.0))[1]
        if quality > best_quality:
            best, best_quality = offer, quality
    if best is None:
        raise NotAcceptable(
            f"the Accept header asks for {accept.strip()[:200]}",
            expected=f"one of {', '.join(offers)}",
            fix=f"send e.g. `Accept: {offers[0]}`",
        )
    return best


def _parse_range(part: str) -> tuple[str, float]:
    """A media range and its quality."""
    name, *parameters = (piece.strip() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                quality = 0.0
    return name.lower(), quality


def _matches(pattern: str, offer: str) -> bool:
    return pattern in ("*/*", offer) or (pattern.endswith("/*") and offer.startswith(pattern[:-1]))


def _specificity(pattern: str) -> int:
    return 0 if pattern == "*/*" else 1 if pattern.endswith("/*") else 2
