"""The versions of a model that answer here or did, and the data that one was trained and tested on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from registry.core.errors import BundleError
from registry.versions import learned
from registry.versions.bundle import ORIGIN_SLICE, Bundle, Manifest, open_bundle
from serving.releases import endpoints, grants, store
from serving.releases.grants import GateAnswer
from serving.releases.packaging import digest_of
from serving.runs import bundles

STARTER = "starter"
"""Origin of the cases that are drawn."""
OF_DRIFT = "drift-"
"""How the origins of labelled predictions begin."""


@dataclass(frozen=True)
class Version:
    """A version, as the page of its model lists it.

    Attributes:
        manifest: None where this machine does not have the bundle any more.
        champion: the gate granted it last, and it was not rolled back since.
    """

    number: int
    live: bool
    champion: bool
    manifest: Manifest | None
    gate: GateAnswer

    @property
    def made(self) -> datetime | None:
        return datetime.fromisoformat(self.manifest.created) if self.manifest else None


@dataclass(frozen=True)
class Data:
    """Cases that a version was trained and tested on.

    Attributes:
        taught, chose: inputs of the splits `train` and `val`, those of its ancestors included; 0: not recorded.
        tested, groups: as in `registry.versions.bundle.Score`.
        origins: origin of test cases -> how many of them.
        digest: DVC's md5 of the data set.
    """

    taught: int
    chose: int
    tested: int
    groups: int
    digest: str
    origins: Mapping[str, int] = field(default_factory=dict)


def of(model: str) -> list[Version]:
    """The versions that answer here or did, the newest first."""
    plan, gate = store.plan(model), grants.answers(model)
    services = {number: one for (_, number), one in endpoints.announced(model, retired=True).items()}
    answers = {number: gate.get(digest_of(one.tag), GateAnswer()) for number, one in services.items()}
    champion = max((n for n in answers if answers[n].granted), key=lambda n: answers[n].when, default=None)
    if plan is not None and champion is not None and champion == plan.previous:
        champion = plan.live  # a rollback gives the alias back
    live = plan.live if plan is not None else None
    return [
        Version(number, number == live, number == champion, _manifest(services[number].tag), answers[number])
        for number in sorted(services, reverse=True)
    ]


def data_of(bundle: Bundle) -> Data:
    """What a version was trained and tested on."""
    manifest = bundle.manifest
    taught, chose, _ = _learned(bundle.path, manifest.created)
    origins = {
        name.removeprefix(ORIGIN_SLICE): score.cases
        for name, score in manifest.slices.items()
        if name.startswith(ORIGIN_SLICE)
    }
    return Data(taught, chose, manifest.score.cases, manifest.score.groups, manifest.data_hash, origins)


def learned_from_drawings(bundle: Bundle) -> bool:
    """Whether a version was trained on the starter data that comes with the models, which is drawn, and on nothing that
    somebody brought: inputs of a drift are few."""
    origins = _learned(bundle.path, bundle.manifest.created)[2]
    return STARTER in origins and all(one == STARTER or one.startswith(OF_DRIFT) for one in origins)


@lru_cache(maxsize=64)
def _learned(path: Path, created: str) -> tuple[int, int, frozenset[str]]:
    """Inputs that taught, inputs that chose, and their origins; nothing where it was not recorded. A bundle is never
    changed: `created` tells one from another in its place."""
    try:
        found = learned.of(open_bundle(path, verify=False))
    except BundleError:
        return 0, 0, frozenset()
    splits = Counter(found.contents.values())
    return splits["train"], splits["val"], found.origins


def _manifest(tag: str) -> Manifest | None:
    bundle = bundles.of_tag(tag)
    return bundle.manifest if bundle else None
