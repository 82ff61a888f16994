"""A PgBouncer of the tests' own before a cluster, in transaction mode: each transaction may get another session."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import PASSWORD, USER, Cluster, _port, _somebody

SESSIONS = 4
"""Fewer than threads ask at once, so that sessions are shared from the beginning."""


@contextmanager
def pooled(cluster: Cluster, url: str) -> Iterator[str]:
    """The address of a database through the pooler. Skips the test where PgBouncer is not installed."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("NOT TESTED: PgBouncer; install it (Debian: pgbouncer)")
    folder, port = Path(tempfile.mkdtemp(prefix="visionloop-pooler-")), _port()
    (folder / "users").write_text(f'"{USER}" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(f"""[databases]
* = host=127.0.0.1 port={cluster.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {SESSIONS}
max_client_conn = 500
server_login_retry = 1
query_wait_timeout = 20
""")
    run_as: dict[str, Any] = {}
    if os.getuid() == 0:  # PgBouncer refuses to be run by root, as PostgreSQL does
        who = _somebody()
        run_as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        for path in (folder, *folder.iterdir()):
            os.chown(path, who.pw_uid, who.pw_gid)
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen(
            [program, str(folder / "pgbouncer.ini")], stdout=out, stderr=out, cwd=folder, **run_as
        )
    try:
        _wait(process, port, folder / "log")
        yield url.replace(f":{cluster.port}/", f":{port}/")
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"PgBouncer did not start\n{log.read_text()[-2000:]}")
