"""The BentoML service of one model version. `serving.releases.packaging` puts it into a Bento beside the bundle.

A Bento's `src` folder is {service.py, serve.py, release.json, bundle/, registry/, monitoring/, serving/}; its
`service.py` calls `build_service` on the folder it lies in.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.contract import catalog
from registry.core.errors import BundleError, VisionloopError
from registry.core.settings import ignore_unknown, settings
from serving.releases.bento_files import BUNDLE, RELEASE
from serving.service.worker import Worker
from serving.wire.call import ServedVersion

if TYPE_CHECKING:
    from _bentoml_sdk import Service
    from starlette.applications import Starlette


def build_service(folder: Path) -> Service[Any]:
    """The BentoML service of the version in `folder`. Loads no network yet: `bentoml build` calls this too.

    Raises:
        BundleError: `folder` is not the source folder of a Bento that `serving.releases.packaging` made.
    """
    import bentoml

    ignore_unknown()
    worker = worker_of(folder)
    served = worker.served
    spec = catalog.get(served.model)

    class VersionService:
        __doc__ = f"{spec.title}, version {served.version}. POST a file to /predict; /docs describes the API."

        def __init__(self) -> None:
            worker.start()

        def __is_ready__(self) -> bool:
            return worker.ready and not worker.draining

        @bentoml.on_shutdown
        def close(self) -> None:
            worker.stop()

    # BentoML's time limit must come later than ours, which answers with a message.
    service = bentoml.service(
        name=served.model,
        workers=1,
        traffic={"timeout": settings().request_timeout_s + 30},
        # BentoML labels its counters with any path that a caller makes up; the labels of serving.service.metrics are
        # bounded.
        metrics={"enabled": False},
        logging={"access": {"enabled": False}},  # the prediction log has every request
        tracing={"excluded_urls": [".*"]},  # spans without an exporter cost a third of a millisecond each
        labels={"model": served.model, "version": str(served.version)},
    )(VersionService)
    service.mount_asgi_app(api_of(folder), path="/", name="api")
    return service


@lru_cache
def api_of(folder: Path) -> Starlette:
    """The HTTP interface of the version in `folder`. One per process. Raises as `build_service`."""
    from serving.service.app import create_api

    worker = worker_of(folder)
    return create_api(catalog.get(worker.served.model), worker)


@lru_cache
def worker_of(folder: Path) -> Worker:
    """The worker of the version in `folder`, not started. One per process. Raises as `build_service`."""
    return Worker(folder / BUNDLE, _read_release(folder), give_up)


def _read_release(folder: Path) -> ServedVersion:
    try:
        return ServedVersion(**json.loads((folder / RELEASE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(
            f"{folder} holds no usable {RELEASE}",
            expected="the source folder of a Bento",
            fix="package the version again with `visionloop package`",
        ) from error


def give_up(error: Exception) -> None:
    """Ends the process with one clear line: a version that fails its golden samples must not stay up."""
    status = error.exit_code if isinstance(error, VisionloopError) else 1
    line = "; ".join(str(error).splitlines()) or type(error).__name__
    print(f"not serving: {line}", file=sys.stderr, flush=True)
    arbiter = os.getppid()
    # The arbiter of `bentoml serve` would start this worker again for ever. 1: the arbiter is dead.
    if "--worker-id" in sys.argv and arbiter > 1:
        os.kill(arbiter, signal.SIGTERM)
    os._exit(status)  # from a thread; nothing was answered yet, so nothing is lost
