"""Containers on this machine: buildah builds, podman runs. What is missing is said, and its tests are skipped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

PACKAGES = "buildah podman runc netavark aardvark-dns iptables uidmap mmdebstrap"
MISSING = f"NOT TESTED: containers; as root on Debian 12: apt-get install --no-install-recommends {PACKAGES}"
BASE = "localhost/visionloop-test-base:bookworm"
SMALL = ("doc", "man", "locale", "info")
"""Folders of /usr/share that no slim image has."""
NAME = "visionloop-test"

# A machine that is itself a container may not raise limits (CAP_SYS_RESOURCE), and runc then starts nothing.
RUNTIME = """#!/usr/bin/env python3
import json, os, shutil, sys
words = sys.argv[1:]
def without_limits(path, pick):
    if os.path.exists(path):
        config = json.load(open(path))
        for name in ("rlimits", "oomScoreAdj"):
            pick(config).pop(name, None)
        json.dump(config, open(path, "w"))
if "create" in words:
    bundle = words[words.index("--bundle") + 1] if "--bundle" in words else "."
    without_limits(bundle + "/config.json", lambda config: config["process"])
elif "exec" in words:
    for flag in ("--process", "-p"):
        if flag in words:
            without_limits(words[words.index(flag) + 1], lambda config: config)
os.execv(shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin"), ["runc", *words])
"""


def check_tools() -> None:
    """Skips the test where a program is missing, or where only root could run it."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    for program in ("buildah", "podman", "runc", "mmdebstrap"):
        if shutil.which(program, path=path) is None:
            pytest.skip(f"{MISSING} ({program} is missing)")
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: containers; these tests make a base image by mmdebstrap and need root")


class Machine:
    """Podman with settings of the tests' own, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runtime = folder / "runtime"
        runtime.write_text(RUNTIME)
        runtime.chmod(0o755)
        settings = folder / "containers.conf"
        settings.write_text(
            f'[engine]\nruntime = "own"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'[engine.runtimes]\nown = ["{runtime}"]\n'
        )
        self.environment = {**os.environ, "CONTAINERS_CONF": str(settings)}

    def podman(self, *words: str, check: bool = True, timeout: float = 300) -> str:
        """Runs `podman WORDS`; what it prints. With `check` it must succeed."""
        done = subprocess.run(
            ["podman", *words],
            cwd=self.folder,  # conmon leaves a file `oom` there
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"podman {' '.join(words)}: {done.stderr}{self._words_of(words)}"
        return done.stdout.strip()

    def _words_of(self, words: Sequence[str]) -> str:
        return f"\n{self.podman('logs', words[-1], check=False)}" if words[0] in ("exec", "healthcheck") else ""

    @contextlib.contextmanager
    def running(self, name: str, image: str, *options: str, command: Sequence[str] = ()) -> Iterator[str]:
        """A container as docs/containers.md runs it: nothing writable but /tmp and var, no rights. Its name."""
        name = f"{NAME}-{name}"
        limits = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
        # No systemd here starts health checks by the clock: the tests start them.
        self.podman(
            "run", "--detach", "--name", name, *limits, "--health-interval", "disable", *options, image, *command
        )
        try:
            yield name
        finally:
            self.podman("rm", "--force", "--time", "5", "--volumes", name, check=False)

    @contextlib.contextmanager
    def volume(self, name: str) -> Iterator[str]:
        self.podman("volume", "create", f"{NAME}-{name}")
        try:
            yield f"{NAME}-{name}"
        finally:
            self.podman("volume", "rm", "--force", f"{NAME}-{name}", check=False)

    def state(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.podman("inspect", name))[0]["State"])

    def ran_out_of_memory(self, name: str) -> bool:
        """Whether the kernel stopped any container of this machine for its memory; podman 4.3 does not say which."""
        return bool(self.state(name)["OOMKilled"]) or (self.folder / "oom").exists()

    def logs(self, name: str) -> str:
        done = subprocess.run(
            ["podman", "logs", name], capture_output=True, text=True, env=self.environment, check=False
        )
        return done.stdout + done.stderr


def build_options() -> list[str]:
    """How buildah builds here: in a chroot, with this machine's network and, behind a proxy, its authorities."""
    found = ["--isolation=chroot", "--network=host"]
    authorities = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    return [*found, f"--volume={authorities}:/etc/ssl/certs/ca-certificates.crt:ro"] if authorities else found


def base_image(scratch: Path) -> str:
    """An image with Python and pip, made of Debian's packages, as registries are not to be had everywhere. Kept: it
    takes a minute."""
    with (Path("/tmp") / f"{NAME}-base.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _out("buildah", "images", "--quiet", "--filter", f"reference={BASE}"):
            tar = scratch / "base.tar"
            _out(
                "mmdebstrap", "--variant=minbase", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
                *(f"--dpkgopt=path-exclude=/usr/share/{one}/*" for one in SMALL),
                "--include=ca-certificates,python3,python3-pip", "bookworm", str(tar),
            )  # fmt: skip
            container = _out("buildah", "from", "scratch")
            _out("buildah", "add", container, str(tar), "/")
            _out("buildah", "commit", "--rm", container, BASE)
            tar.unlink()
    return BASE


def _out(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def size_mb(image: str) -> float:
    """What its layers take on disk, in MB (10^6 bytes)."""
    return float(json.loads(_out("podman", "image", "inspect", image))[0]["Size"]) / 1e6


def remove(image: str) -> None:
    subprocess.run(["buildah", "rmi", "--force", image], capture_output=True, check=False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
