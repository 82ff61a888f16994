"""What the pages say about a model: its live version, how good and how fast that is, and its examples."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, replace

from django.utils.translation import gettext

from monitoring.log.models import Prediction
from registry.contract import catalog
from registry.contract.spec import ModelSpec
from registry.versions.bundle import Bundle, Manifest
from serving.gallery.metric_words import meaning
from serving.releases import store
from serving.releases.endpoints import Endpoint
from serving.runs import bundles, kinds
from serving.runs.models import Kind, Run, State
from serving.translation import specs

KEPT_S = 5.0
"""Releases change seldom; pages may be this old."""
RECENT = 100
"""Predictions of which the typical time is the median."""


@dataclass(frozen=True)
class Card:
    """A model as the gallery shows it.

    Attributes:
        version: the live one; None: nothing is released.
        manifest: of its bundle; None where this machine does not have it.
        typical_ms: median of the last predictions, else of the network's measurement; None: unknown.
        examples: runs of golden samples, on the live version where there are some.
    """

    spec: ModelSpec
    version: int | None
    manifest: Manifest | None
    typical_ms: float | None
    examples: tuple[Run, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        return kinds.kinds_of(self.spec)

    @property
    def takes(self) -> str:
        """What it takes, for people."""
        words = {Kind.PICTURE: gettext("photo"), Kind.VIDEO: gettext("video"), Kind.SCAN: gettext("scan (NIfTI)")}
        return gettext(" or ").join(words[kind] for kind in self.kinds)

    @property
    def gives(self) -> str:
        """What it gives back, for people."""
        words = {
            "segmentation": gettext("a mask"),
            "detection": gettext("boxes and counts"),
            "classification": gettext("a class with its probability"),
            "features": gettext("a class, its neighbours, and features"),
        }
        return words[self.spec.task]

    @property
    def accept(self) -> str:
        """For a file input of a page."""
        return ",".join(self.spec.extensions)

    @property
    def is_live(self) -> bool:
        return self.version is not None

    @property
    def first_endings(self) -> tuple[str, ...]:
        """Of the files that it takes, those that people know: the first of each kind."""
        firsts = (".jpg", ".png", ".webp", ".mp4", ".mov", ".nii.gz", ".nii")
        return tuple(one for one in firsts if one in self.spec.extensions) or self.spec.extensions[:6]

    @property
    def more_endings(self) -> int:
        return len(self.spec.extensions) - len(self.first_endings)

    @property
    def metric_meaning(self) -> str:
        return meaning(self.spec.metric.name)

    @property
    def takes_pictures(self) -> bool:
        return Kind.PICTURE in self.kinds


_lock = threading.Lock()
_kept: tuple[float, list[Card]] = (0.0, [])


def every() -> list[Card]:
    """All models, those with a live version first, in the reader's language. At most `KEPT_S` old."""
    global _kept
    with _lock:
        made, cards = _kept
        if time.monotonic() - made > KEPT_S or not cards:
            cards = sorted((_card(spec) for spec in catalog.all_specs()), key=lambda card: card.version is None)
            _kept = (time.monotonic(), cards)
    return [replace(card, spec=specs.translated(card.spec)) for card in cards]


def one(model: str) -> Card:
    """Raises NotFound."""
    spec = catalog.get(model)
    return next(card for card in every() if card.spec.name == spec.name)


def bundle_of(endpoint: Endpoint) -> Bundle | None:
    """The bundle of a version that is packaged on this machine."""
    return bundles.of_tag(endpoint.tag)


def examples_of(model: str, version: int | None) -> list[Run]:
    """The examples that are done, of the live version or else of the newest that has some."""
    done = list(Run.objects.filter(owner=None, model=model, state=State.DONE).order_by("-wanted", "name"))
    wanted = version if any(run.wanted == version for run in done) else done[0].wanted if done else None
    return [run for run in done if run.wanted == wanted][:3]


def _card(spec: ModelSpec) -> Card:
    live = store.live(spec.name)
    bundle = bundle_of(live) if live else None
    manifest = bundle.manifest if bundle else None
    version = live.version if live else None
    return Card(
        spec, version, manifest, _typical_ms(spec.name, version, manifest), tuple(examples_of(spec.name, version))
    )


def _typical_ms(model: str, version: int | None, manifest: Manifest | None) -> float | None:
    recent = Prediction.objects.filter(model=model, version=version, outcome="ok").order_by("-time")
    seen = list(recent.values_list("latency_ms", flat=True)[:RECENT])
    if seen:
        return statistics.median(seen)
    return manifest.chosen.p50_ms if manifest else None
