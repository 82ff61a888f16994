"""Whether the stack's ports are free, and which process holds a busy one."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

from flows.process import ProcessSpec
from registry.core.errors import SettingsError


def busy(host: str, port: int) -> bool:
    """Whether a server could not listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT does not count
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def listener(port: int) -> int | None:
    """The number of the process that listens on `port`, the first of several. None where it is not known."""
    import psutil

    with suppress(psutil.Error, OSError):  # macOS shows other users' sockets to root only
        listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
        return min((one.pid for one in listening if one.laddr.port == port and one.pid), default=None)
    return None


def holder(port: int) -> str:
    """The process that listens on `port`, in words."""
    import psutil

    pid = listener(port)
    with suppress(psutil.Error):
        if pid is not None:
            process = psutil.Process(pid)
            return f"process {pid} ({' '.join(process.cmdline())[:120] or process.name()})"
    return "another process"


def check(host: str, specs: Iterable[ProcessSpec]) -> None:
    """Checks that every port of the stack is free, and that no two processes want the same one.

    Raises:
        SettingsError: names the port, its holder and the setting that changes it.
    """
    wanted: dict[int, ProcessSpec] = {}
    for spec in specs:
        if not spec.port:
            continue
        how = f"set another: VISIONLOOP_{spec.setting.upper()}=<port>, or {spec.setting} in visionloop.toml"
        if spec.port in wanted:
            raise SettingsError(
                f"port {spec.port} is wanted by both {wanted[spec.port].name} and {spec.name}",
                expected="a port of its own for each",
                fix=how,
            )
        wanted[spec.port] = spec
        if busy(host, spec.port):
            raise SettingsError(
                f"port {spec.port}, which {spec.name} needs, is held by {holder(spec.port)}",
                expected=f"a free port on {host}",
                fix=f"stop that process, or {how}",
            )
