"""The gate's answer about a version, read from the decision pages: without a page no traffic.

A decision is about a bundle and is found by the bundle's digest, because in another registry the same version number
means another bundle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

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
            status = path.stat()
            digest, answer = _read(path, status.st_mtime_ns, status.st_size)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half written, or from an earlier version
        if digest and (digest not in found or answer.when > found[digest].when):
            found[digest] = answer
    return found


@lru_cache(maxsize=2048)
def _read(path: Path, modified_ns: int, size: int) -> tuple[str, GateAnswer]:
    """The digest that a page is about, "" where it is no promotion, and the answer. Kept as long as the file is the
    same: every page of a model and of the back office asks, and a model has up to `decision_pages` of them."""
    page = json.loads(path.read_text(encoding="utf-8"))
    digest, when = str(page["digest"]), (str(page["created"]), modified_ns / 1e9)
    where = f"{path.parent.name}/{path.with_suffix('.html').name}"
    answer = GateAnswer(bool(page["granted"]), str(page["summary"]), where, when)
    return digest if page.get("kind", "promotion") == "promotion" else "", answer


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
