"""Programs that build images: buildah, podman or docker."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from registry.core.errors import MissingService

ENGINES = ("buildah", "podman", "docker")
"""In the order in which they are looked for: buildah needs no daemon and no rights that podman does without."""
BUILD_LIMIT_S = 3600
"""A service takes some minutes, most of it for downloads."""
LAST_LINES = 12


def engine(name: str = "") -> str:
    """The program with that name, or the first of `ENGINES` that is installed. Raises MissingService."""
    found = next((one for one in ([name] if name else ENGINES) if shutil.which(one)), None)
    if found is None:
        raise MissingService(
            f"no program that builds images is here: {name or ', '.join(ENGINES)}",
            expected=f"{name or 'one of them'} on PATH",
            fix="install one, on Debian and Ubuntu `apt-get install buildah`; without --image the Bento alone is built",
        )
    return found


def build(
    program: str,
    context: Path,
    file: Path,
    tag: str,
    *,
    base: str = "",
    labels: Mapping[str, str],
    options: Sequence[str] = (),
) -> None:
    """Builds the image `tag` from the container file `file` with the files in `context`.

    Args:
        program: one of `ENGINES`.
        base: the image to begin with; "" leaves it to the container file.
        options: more words for the program, e.g. `--isolation=chroot`.

    Raises:
        MissingService: it failed, with its last lines, or took longer than BUILD_LIMIT_S.
    """
    command = [program, "build", "--tag", tag, "--file", str(file)]
    if program != "docker":
        command += ["--format", "docker"]  # OCI's format has no HEALTHCHECK
    command += ["--build-arg", f"BASE={base}"] if base else []
    command += [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    command += [*options, str(context)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise MissingService(
            f"{program} took longer than {BUILD_LIMIT_S} s to build {tag} and was stopped", fix="see what it waits for"
        ) from error
    if done.returncode:
        last = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-LAST_LINES:])
        raise MissingService(
            f"{program} could not build {tag}:\n{last}",
            expected=f"an image that {program} lists",
            fix="read the lines above; docs/containers.md has what machines behind a proxy or without rights need",
        )
