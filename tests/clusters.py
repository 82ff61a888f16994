"""A PostgreSQL of the tests' own, in a temporary folder: made, stopped, killed and started again."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pytest

ADMIN, USER = "admin", "visionloop"
PASSWORD = "p@ss/wo:rd%"  # with what has a meaning in an address


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL; Debian keeps it off the PATH."""
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda found: -_number(found.parent.name))
    on_path = shutil.which("initdb")
    folders = [*known, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((one for one in folders if (one / "initdb").is_file() and (one / "postgres").is_file()), None)


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:  # 17beta1, or no version at all
        return 0.0


class Cluster:
    """A server that listens on this machine only, with passwords."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder, self.port = binaries, folder, _port()
        # PostgreSQL refuses to be run by root.
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            who = _somebody()
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
            os.chown(folder, who.pw_uid, who.pw_gid)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-U", ADMIN, f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync")
        try:
            self.start()
            self.ask(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        except BaseException:
            with suppress(AssertionError):
                self.stop("immediate")  # nobody else knows of it yet
            raise

    def start(self) -> None:
        # The machine is not switched off under a test, so nothing need reach the disk.
        said = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-w", "-t", "60", "-l", str(self._folder / "log"), "-o", said, "start")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """`immediate` is how a crash looks: nobody is told, nothing is finished."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self.stop(mode)
        self.start()

    def make(self, name: str, owner: str = USER) -> str:
        """A database; returns its address for the application's user."""
        self.ask(f"CREATE DATABASE {name} OWNER {owner}")
        return self.address(name)

    def address(self, name: str) -> str:
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{name}"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def ask(self, query: str, name: str = "postgres") -> list[tuple[Any, ...]]:
        """Asks as the administrator."""
        import psycopg

        where = {"host": "127.0.0.1", "port": self.port, "user": ADMIN, "password": PASSWORD, "dbname": name}
        with psycopg.connect(**where, autocommit=True) as connection:
            cursor = connection.execute(query)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "-D", str(self._folder / "data"), *arguments]
        # No pipes: the server would inherit them, and they would never end.
        with (self._folder / "setup.log").open("ab") as out:
            done = subprocess.run(
                command, stdout=out, stderr=out, cwd=self._folder, timeout=120, check=False, **self._as
            )
        assert done.returncode == 0, (self._folder / "setup.log").read_text(errors="replace")[-2000:]


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster for a while. Skips the test where there is no PostgreSQL."""
    found = binaries()
    if found is None:
        pytest.skip("NOT TESTED: PostgreSQL; install it (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="visionloop-postgres-"))  # pytest's own folders are closed to other users
    try:
        cluster = Cluster(found, folder)
        try:
            yield cluster
        finally:
            cluster.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _port() -> int:
    """One that the kernel gives to nobody while the server is stopped: not of its range for outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _somebody() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return pytest.skip("NOT TESTED: PostgreSQL; there is no user but root to run it")
