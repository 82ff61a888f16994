"""Whether the stack's ports are free, and which process holds a busy one."""

from __future__ import annotations

import socket
from collections.abc import Iterable

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


def holder(port: int) -> str:
    """The process that listens on `port`, in words."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                command = " ".join(process.cmdline())[:120] or process.name()
                return f"process {connection.pid} ({command})"
    except (psutil.Error, OSError):
        pass  # macOS shows other users' sockets to root only
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
