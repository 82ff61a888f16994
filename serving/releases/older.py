"""Services that were packaged from other code than the code that runs here, mostly before an update.

A Bento has its own copy of our packages. Pages and router may ask an old one for what it does not know yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from registry.core.closure import OURS, project_folder
from serving.releases import endpoints, store
from serving.releases.packaging import bento_folder


@dataclass(frozen=True)
class OlderService:
    """A service of a release plan. `kind`: of the plan; of the live version "all"."""

    model: str
    version: int
    kind: str

    @property
    def command(self) -> str:
        """What packages it from this code and starts it anew. No request is dropped."""
        kind = "" if self.kind == "all" else f"{self.kind} "
        return f"visionloop release {self.model} {kind}{self.version}"


def find() -> list[OlderService]:
    """The services of the release plans that were packaged from other code, by model."""
    known, found = endpoints.announced(), []
    for plan in store.plans():
        for version, kind in ((plan.live, "all"), (plan.second, plan.kind)):
            service = known.get((plan.model, version or 0))
            if service is not None and not is_of_this_code(service.tag):
                found.append(OlderService(plan.model, service.version, kind))
    return found


def is_of_this_code(tag: str) -> bool:
    """Whether a Bento's copy of our packages is what is here. True where this machine does not have the Bento."""
    source = bento_folder(tag) / "src"
    return _is_a_copy(source) if source.is_dir() else True


@lru_cache(maxsize=256)
def _is_a_copy(source: Path) -> bool:
    """Kept, since neither a Bento nor the code of a running process changes: the front page asks every few seconds."""
    project = project_folder()
    copies = [path for package in OURS for path in (source / package).rglob("*.py")]
    return all(_same(path, project / path.relative_to(source)) for path in copies)


def _same(copy: Path, original: Path) -> bool:
    try:
        return copy.read_bytes() == original.read_bytes()
    except OSError:
        return False
