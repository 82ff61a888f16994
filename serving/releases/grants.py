"""The gate's word on a version, as the decision pages in var have it: without a page no traffic.

A decision is about a bundle, so it is found by the bundle's digest: a version's number means another bundle in another
registry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from registry.core.errors import BadInput, Refused
from registry.core.settings import settings
from serving.releases import endpoints
from serving.releases.packaging import digest_of
from serving.releases.plans import Plan


@dataclass(frozen=True)
class GateAnswer:
    """What the gate said of a bundle; `summary` is a sentence, "" where it was never asked."""

    granted: bool = False
    summary: str = ""


def word(model: str, digest: str) -> GateAnswer:
    """The latest decision about a bundle."""
    latest: tuple[str, float] = ("", 0.0)
    found = GateAnswer()
    for path in (settings().var / "decisions" / model).glob("*.json"):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            mine = said["digest"] == digest != "" and said.get("kind", "promotion") == "promotion"
            when = (str(said["created"]), path.stat().st_mtime)
            if mine and when > latest:
                latest, found = when, GateAnswer(bool(said["granted"]), str(said["summary"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half written, or of another time: nobody's word
    return found


def of_service(service: endpoints.Endpoint) -> GateAnswer:
    """Of the bundle in a service's Bento."""
    return word(service.model, digest_of(service.tag))


def check(model: str, version: int, tag: str, anyway: str | None) -> str:
    """As `check_digest`, of the bundle in a Bento."""
    return check_digest(model, version, digest_of(tag), anyway)


def check_digest(model: str, version: int, digest: str, anyway: str | None) -> str:
    """Returns the reason that is to be kept: "" where the gate granted the version.

    Args:
        anyway: why it is to be released although the gate did not grant it; None or "": it is not.

    Raises:
        Refused: it was not granted.
        BadInput: `anyway` is blank.
    """
    said = word(model, digest)
    if said.granted:
        return ""
    if anyway and anyway.strip():
        return anyway.strip()
    if anyway:
        raise BadInput("--anyway has no reason", expected="a few words", fix="say why this version is released")
    raise Refused(
        said.summary or f"the gate was never asked about version {version} of {model}",
        expected="a version that the gate granted",
        fix=f"`visionloop promote {model} {version}` asks the gate; --anyway REASON releases it all the same",
    )


def check_second(plan: Plan, anyway: str) -> str:
    """As `check`, of a plan's second version. The reason that it was released with is enough."""
    _, second = plan.both()
    service = endpoints.announced(plan.model).get((plan.model, second))
    if service is None:
        return anyway
    return check(plan.model, second, service.tag, anyway or service.anyway)


def without(endpoint: endpoints.Endpoint) -> str:
    """Why a service gets requests without the gate's word; "" where it has it."""
    if of_service(endpoint).granted:
        return ""
    return endpoint.anyway or "released before there was a word of the gate"
