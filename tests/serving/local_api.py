"""The API of a service in this process, over real HTTP, in front of a real bundle: quicker than a Bento."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from registry.contract.spec import ModelSpec
from serving.service.app import create_api
from serving.service.worker import Worker
from serving.wire.call import ServedVersion
from tests.waiting import until


@contextmanager
def answering(spec: ModelSpec, bundle: Path) -> Iterator[tuple[str, Worker]]:
    """The address of version 1 of `spec`, ready, and its worker."""
    failures: list[Exception] = []
    worker = Worker(bundle, ServedVersion(spec.name, 1, "0" * 64), failures.append)
    worker.start()
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_api(spec, worker), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [line]}, daemon=True)
        thread.start()
        until(lambda: failures or (worker.ready and server.started), 60)
        assert not failures, failures
        try:
            yield f"http://127.0.0.1:{line.getsockname()[1]}", worker
        finally:
            server.should_exit = True
            thread.join(20)
            worker.stop()
