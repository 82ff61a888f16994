"""The gate's answer about a version, read from the decision pages: without a page no traffic.

A decision is about a bundle and is found by the bundle's digest, because in another registry the same version number
means another bundle.
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
    """The gate's answer about a bundle.

    Attributes:
        summary: a sentence, "" where the gate was never asked.
        page: of the decision, below `var/decisions`; when: it was made, to compare with others.
    """

    granted: bool = False
    summary: str = ""
    page: str = ""
    when: tuple[str, float] = ("", 0.0)


def answers(model: str) -> dict[str, GateAnswer]:
    """The latest decision about each bundle, by its digest."""
    found: dict[str, GateAnswer] = {}
    for path in (settings().var / "decisions" / model).glob("*.json"):
        try:
            page = json.loads(path.read_text(encoding="utf-8"))
            digest, when = str(page["digest"]), (str(page["created"]), path.stat().st_mtime)
            mine = bool(digest) and page.get("kind", "promotion") == "promotion"
            if mine and (digest not in found or when > found[digest].when):
                where = f"{model}/{path.with_suffix('.html').name}"
                found[digest] = GateAnswer(bool(page["granted"]), str(page["summary"]), where, when)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half written, or from an earlier version
    return found


def answer_for(model: str, digest: str) -> GateAnswer:
    """The latest decision about a bundle."""
    return answers(model).get(digest, GateAnswer())


def check(model: str, version: int, digest: str, anyway: str | None) -> str:
    """Checks that a version may get traffic. Returns the reason to keep; "" where the gate granted the version.

    Args:
        digest: of its bundle.
        anyway: why it is to be released without the gate's grant; None or "" needs the grant.

    Raises:
        Refused: the gate did not grant it, and there is no reason.
        BadInput: `anyway` is blank.
    """
    answer = answer_for(model, digest)
    if answer.granted:
        return ""
    if anyway and anyway.strip():
        return anyway.strip()
    if anyway:
        raise BadInput("--anyway has no reason", expected="a few words", fix="write why this version is released")
    raise Refused(
        answer.summary or f"the gate was never asked about version {version} of {model}",
        expected="a version that the gate granted",
        fix=(
            f"`visionloop decisions {model}@{version}` lists the reasons"
            if answer.summary
            else f"`visionloop promote {model} {version}` asks the gate"
        )
        + "; --anyway REASON releases it all the same",
    )


def check_second(plan: Plan, anyway: str) -> str:
    """`check` of a plan's second version. The reason that its release began with is enough."""
    _, second = plan.both()
    service = endpoints.announced(plan.model).get((plan.model, second))
    if service is None:
        return anyway
    return check(plan.model, second, digest_of(service.tag), anyway or service.anyway)


def ungranted_reason(endpoint: endpoints.Endpoint) -> str:
    """Why a service gets requests without the gate's grant; "" where it has the grant."""
    if answer_for(endpoint.model, digest_of(endpoint.tag)).granted:
        return ""
    return endpoint.anyway or "released before the gate was asked"
