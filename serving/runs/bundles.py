"""The bundles of versions that are packaged on this machine."""

from __future__ import annotations

from functools import lru_cache

from registry.core.errors import BundleError
from registry.versions.bundle import Bundle, open_bundle
from serving.releases import endpoints
from serving.releases.bento_files import BUNDLE
from serving.releases.packaging import bento_folder


@lru_cache(maxsize=64)
def of_tag(tag: str) -> Bundle | None:
    """The bundle in a Bento; None where this machine has no such Bento."""
    try:
        return open_bundle(bento_folder(tag) / "src" / BUNDLE, verify=False)
    except BundleError:
        return None


def of_version(model: str, version: int) -> Bundle | None:
    """The bundle of a version that is or was served; None where this machine does not have it."""
    endpoint = endpoints.announced(model, retired=True).get((model, version))
    return of_tag(endpoint.tag) if endpoint is not None else None
