"""Chooses the answer's media type from the Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from registry.errors import BadInput, NotAcceptable

SHORT = {"application/json": "json", "application/x-nifti": "nifti", "image/jpeg": "jpg", "image/png": "png"}
"""Names for `?format=`, for browsers and forms, which cannot set Accept."""


def short_name(media: str) -> str:
    return SHORT.get(media, media.rpartition("/")[2].removeprefix("x-"))


def choose(accept: str | None, wanted: str | None, offers: Sequence[str]) -> str:
    """The best of `offers` for an Accept header; a `?format=` short name is stronger. The first is the default.

    Raises:
        NotAcceptable: none of the offers is acceptable (406).
        BadInput: an unknown short name.
    """
    if wanted:
        for offer in offers:
            if wanted.lower() in (short_name(offer), offer):
                return offer
        raise BadInput(
            f"format is {wanted!r}", expected=f"one of {', '.join(map(short_name, offers))}", mend="correct ?format="
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
            mend=f"send e.g. `Accept: {offers[0]}`",
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
