"""Examples of the gallery: golden samples of each live version, predicted once and kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from registry.contract import catalog
from registry.core.errors import BadInput
from serving.gallery import cards
from serving.releases import store as releases
from serving.releases.endpoints import Endpoint
from serving.runs import files, kinds, store
from serving.runs.models import Run, State, now

MOST = 3
TRY_AGAIN = timedelta(minutes=10)


def refresh() -> None:
    """Makes the examples of versions that are new, and removes those of older ones once the new ones are done."""
    for model in catalog.names():
        live = releases.live(model)
        if live is None:
            continue
        mine = Run.objects.filter(owner=None, model=model, wanted=live.version)
        for failed in mine.filter(state=State.FAILED, finished__lt=now() - TRY_AGAIN):
            store.delete(failed)
        if not mine.exists():
            _make(model, live)
        elif mine.filter(state=State.DONE).exists():
            for old in Run.objects.filter(owner=None, model=model).exclude(wanted=live.version):
                store.delete(old)


def _make(model: str, live: Endpoint) -> None:
    bundle = cards.bundle_of(live)
    for number, folder in enumerate(bundle.samples[:MOST] if bundle else (), start=1):
        _begin(model, live.version, number, folder / "input")


def _begin(model: str, version: int, number: int, path: Path) -> None:
    content = path.read_bytes()
    try:
        found = kinds.check(catalog.get(model), content, len(content))
    except BadInput:
        return
    ending = {"application/gzip": ".nii.gz", kinds.NIFTI: ".nii"}.get(found.media, f".{found.media.rpartition('/')[2]}")
    run = Run(
        model=model, wanted=version, name=f"example-{number}{ending}", size=len(content), received=len(content),
        kind=found.kind, media=found.media, state=State.WAITING, queued=now(),
    )  # fmt: skip
    files.write(run.id, files.INPUT, content)
    run.save(force_insert=True)
