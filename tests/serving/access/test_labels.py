"""Labels must not take the memory of the router, which all models share."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from serving.api.mount import MAX_LABEL_BYTES, MAX_LARGE_LABELS
from tests.serving.access.conftest import start_router
from tests.serving.conftest import Processes

FEEDBACK = "/v1/predictions/x/feedback"  # no id, so it is answered as soon as the body is there
UNKNOWN = f"/v1/predictions/{'0' * 32}/feedback"  # waited for, for three seconds
TIMEOUT_S = 2.5
MIB = 1 << 20


@pytest.fixture(scope="module")
def address(project: Path, processes: Processes) -> Iterator[str]:
    """A router that takes larger uploads than labels may be, with a short time limit."""
    yield start_router(processes, "labels", request_timeout_s=str(TIMEOUT_S), max_upload_mb="128")
    processes.stop("labels")


def _begun(address: str, length: int) -> socket.socket:
    """A connection on which a label was begun."""
    host, port = address.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), timeout=20)
    line.sendall(f"POST {FEEDBACK} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + b"\0" * 99)
    return line


def _answer(line: socket.socket) -> tuple[int, dict[str, str]]:
    text = b"".join(iter(lambda: line.recv(65536), b""))
    return int(text.split()[1]), json.loads(text.partition(b"\r\n\r\n")[2])


def test_more_than_a_label_is_refused_before_it_is_read(address: str) -> None:
    with _begun(address, MAX_LABEL_BYTES + 1) as line:
        status, said = _answer(line)
    assert (status, said["error"]) == (413, "TooLarge")
    assert "max_upload_mb" not in said["fix"], "that would not help"


def test_slow_ones_keep_nobody_out(address: str) -> None:
    slow = [_begun(address, 2 * MIB) for _ in range(2 * MAX_LARGE_LABELS)]
    began = time.monotonic()
    assert httpx.post(f"{address}{FEEDBACK}", content=b"\0" * 2 * MIB, timeout=20).status_code == 422
    assert httpx.post(f"{address}{FEEDBACK}", json={"label": ""}).status_code == 422
    assert time.monotonic() - began < TIMEOUT_S
    for line in slow:
        with line:
            assert _answer(line)[0] == 408


def test_only_few_large_ones_are_worked_on_at_once(address: str) -> None:
    """Each waits for its prediction, which is unknown, for longer than the next one waits for its place."""
    with ThreadPoolExecutor(8) as pool:
        label = {"file": ("mask.nii.gz", b"\0" * 2 * MIB)}
        said = [pool.submit(httpx.post, f"{address}{UNKNOWN}", files=label, timeout=30) for _ in range(8)]
        statuses = sorted(one.result().status_code for one in said)
    assert statuses == [404] * MAX_LARGE_LABELS + [429] * (8 - MAX_LARGE_LABELS)
