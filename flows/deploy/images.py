"""The image of a service: a Bento's files with exactly the packages that they need."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flows.deploy.engines import build
from flows.deploy.locked import locked
from registry.core.closure import project_folder
from registry.core.errors import MissingService
from registry.core.files import disk_errors
from registry.core.settings import settings
from serving.releases.bento_files import RELEASE
from serving.releases.packaging import bento_folder

CONTAINERS = "infra/containers"
NAMES = "visionloop"
FILES_ONLY = ("bentoml",)
"""Of BentoML a service reads files of its page /docs, and imports nothing (decision 21)."""


def default_base() -> str:
    """The official image of this Python: an environment made by one minor version does not fit another."""
    return f"python:{sys.version_info.major}.{sys.version_info.minor}-slim-bookworm"


def image_name(tag: str) -> str:
    """The name of the image of a Bento: `visionloop/MODEL:NUMBER-HASH`."""
    return f"{NAMES}/{tag}"


def build_service(tag: str, program: str, *, base: str = "", options: Sequence[str] = ()) -> str:
    """Builds the image of a Bento that exists. Returns its name.

    Args:
        tag: of the Bento, as `serving.releases.packaging.package` returns it.
        program, base, options: as for `flows.deploy.engines.build`.

    Raises:
        MissingService: the build failed, or this is no checkout.
        Refused: other packages are installed than requirements.lock has.
        StorageError: the disk is full.
    """
    project, bento = project_folder(), bento_folder(tag)
    file = project / CONTAINERS / "service.Containerfile"
    if not file.is_file():
        raise MissingService(f"{file} is missing", expected="a checkout of visionloop", fix="run it in the checkout")
    pins = (bento / "env" / "python" / "requirements.txt").read_text(encoding="utf-8").split()
    packages = locked(pins, project / "requirements.lock", alone=FILES_ONLY)
    served = json.loads((bento / "src" / RELEASE).read_text(encoding="utf-8"))
    labels = {f"visionloop.{name}": str(served[name]) for name in ("model", "version", "digest")}
    scratch = settings().var / "bentoml" / "staging"
    with disk_errors(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as made:
            context = Path(made)
            shutil.copytree(bento / "src", context / "service")
            (context / "requirements.txt").write_text(packages, encoding="utf-8")
            shutil.copyfile(file, context / "Containerfile")
            build(
                program, context, context / "Containerfile", image_name(tag),
                base=base or default_base(), labels=labels, options=options,
            )  # fmt: skip
    return image_name(tag)
