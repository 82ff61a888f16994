"""`python -m serving.guard.scoring MODEL VERSION`: scores the labels that wait, with the version that predicted.

A process of its own, because it loads a network.
"""

from __future__ import annotations

import os
import sys

from registry.core import database
from registry.core.errors import NotFound, VisionloopError
from registry.core.settings import settings
from registry.versions.predictor import Predictor
from serving.releases import endpoints
from serving.releases.bento_files import BUNDLE
from serving.releases.packaging import bento_folder


def score(model: str, version: int) -> int:
    """Returns how many it scored. Raises NotFound when the version is not served here."""
    from monitoring.feedback import performance

    database.setup()
    endpoint = endpoints.announced(model).get((model, version))
    if endpoint is None:
        raise NotFound(f"version {version} of {model} is not served", expected="an announced service")
    bundle = bento_folder(endpoint.tag) / "src" / BUNDLE
    return performance.score_pending(model, version, Predictor.load(bundle, 1, settings().max_voxels))


def main() -> None:
    os.nice(10)
    try:
        print(score(sys.argv[1], int(sys.argv[2])), "labels scored")
    except VisionloopError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
