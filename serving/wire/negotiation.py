"""What a caller wants: the answer's media type, from the Accept header (RFC 9110, section 12.5.1), and extras."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from registry.core.errors import BadInput, NotAcceptable

SHORT_NAMES = {"application/json": "json", "application/x-nifti": "nifti", "image/jpeg": "jpg", "image/png": "png"}
"""Names for `?format=`, for browsers and forms, which cannot set Accept."""


JSON, JPEG, NPY, WEBM = "application/json", "image/jpeg", "application/x-npy", "video/webm"
_FLAG = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


@dataclass(frozen=True)
class ResponseFormat:
    """What an answer is to hold.

    Attributes:
        media: its content type.
        explain: the heat map: in place of the picture, or in the JSON.
        image: the annotated picture in the JSON, too.
        embedding: the embedding in place of the findings.
    """

    media: str
    explain: bool = False
    image: bool = False
    embedding: bool = False


PREDICTION_QUERY = ("format", "explain", "image")
"""What the query of a prediction may hold."""


def response_format(accept: str | None, query: Mapping[str, str], offers: Sequence[str]) -> ResponseFormat:
    """What the Accept header and the query (`format`, `explain`, `image`) ask for.

    Raises:
        NotAcceptable: as `choose`.
        BadInput: as `choose`; a flag that is neither true nor false; an extra that the answer's format has no room for.
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
    """Refuses what a query holds by mistake: a name that is misspelt, or one that is there twice. Raises BadInput."""
    seen = set[str]()
    for name, _ in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise BadInput(
                f"there is no query parameter {name[:40]!r}",
                expected=f"one of {', '.join(known)}" if known else "none",
                fix=f"did you mean {close[0]!r}?" if close else "leave it out",
            )
        if name in seen:
            raise BadInput(f"the query has {name!r} more than once", expected="one", fix="leave the others out")
        seen.add(name)


def render_offers(media_out: Sequence[str], is_video: bool) -> tuple[str, ...]:
    """What `render` offers, best first: for people, so the annotated video of a video, a JPEG of anything else."""
    pictures = tuple(media for media in media_out if media not in (JSON, NPY))
    best = WEBM if is_video else JPEG
    return tuple(sorted(pictures, key=lambda media: media != best))


def parse_flag(name: str, value: str) -> bool:
    """Of a query. Raises BadInput."""
    if value.lower() not in _FLAG:
        raise BadInput(f"{name} is {value[:40]!r}", expected="true or false", fix=f"correct ?{name}=")
    return _FLAG[value.lower()]


def short_name(media: str) -> str:
    return SHORT_NAMES.get(media, media.rpartition("/")[2].removeprefix("x-"))


def choose_media(accept: str | None, short: str | None, offers: Sequence[str]) -> str:
    """The best of `offers` for an Accept header; a `?format=` short name is stronger. The first is the default.

    Raises:
        NotAcceptable: none of the offers is acceptable (406).
        BadInput: an unknown short name.
    """
    if short:
        for offer in offers:
            if short.lower() in (short_name(offer), offer, offer.rpartition("/")[2]):
                return offer
        raise BadInput(
            f"format is {short!r}",
            expected=f"one of {', '.join(map(short_name, offers))}",
            fix="correct ?format=",
        )
    if not accept or accept.strip() == "*/*":
        return offers[0]
    ranges = [_parse(part) for part in accept.split(",") if part.strip()]
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


def _parse(part: str) -> tuple[str, float]:
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
