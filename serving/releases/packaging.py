"""Builds the Bento of a registered version: its bundle and the source files that serve it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Protocol

from registry.core.closure import Closure, closure_of, project_folder, requirements
from registry.core.errors import MissingService, NotFound
from registry.core.files import disk_errors
from registry.core.runtime import ENGINES
from registry.core.settings import settings
from registry.versions.bundle import Bundle, Manifest
from serving.releases.bento_files import BUNDLE, RELEASE
from serving.wire.call import ServedVersion

ROOTS = (
    "serving.service.launch",
    "serving.service.bento",
    "serving.releases.apps",
    "serving.releases.models",
    "serving.tasks.models",
    "monitoring.log.apps",
    "monitoring.log.models",
    "monitoring.log.writer",
)
MIGRATIONS = ("serving/releases/migrations", "serving/tasks/migrations", "monitoring/log/migrations")
# Starlette and uvicorn import them where they are installed, so no import of ours names them.
ALSO = ("python-multipart", "uvloop", "httptools")
BUILD_LIMIT_S = 600
"""Some 3 s on an idle machine; a training on all cores makes it many times slower."""

SERVICE = '''"""What `bentoml serve` loads."""

from pathlib import Path

from serving.service.bento import build_service

service = build_service(Path(__file__).parent)
'''
SERVE = '''"""What the supervisor runs: the same service in one process."""

import gc
from pathlib import Path

if __name__ == "__main__":
    gc.disable()  # until all is loaded (serving.service.worker): a twentieth of the time of a start
    from serving.service.launch import main

    main(Path(__file__).parent)
'''


class Version(Protocol):
    """The part of `registry.versions.mlflow_registry.Version` that packaging needs."""

    @property
    def model(self) -> str: ...
    @property
    def number(self) -> int: ...


def package(version: Version, bundle: Bundle) -> str:
    """Builds the Bento of a version, unless it exists. Returns its tag, `model:number-hash`.

    The hash covers the bundle, the source files and the pinned requirements: the same tag serves the same.

    Raises:
        MissingService: `bentoml build` failed, or took longer than BUILD_LIMIT_S.
        StorageError: the disk is full.
    """
    project = project_folder()
    parts = (f"registry.models.{version.model}{part}" for part in ("", ".model"))
    closure = closure_of((*ROOTS, *parts), project)
    pins = _pins(closure, bundle.manifest)
    files = [
        *closure.files,
        *(p.relative_to(project) for folder in MIGRATIONS for p in (project / folder).glob("*.py")),
    ]
    tag = f"{version.model}:{version.number}-{_hash(bundle, project, files, pins)}"
    if (bento_folder(tag) / "bento.yaml").is_file():
        return tag
    served = ServedVersion(version.model, version.number, bundle.digest)
    scratch = settings().var / "bentoml" / "staging"
    with disk_errors(scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as draft:
            _fill(Path(draft), project, files, bundle, served)
            _describe(Path(draft), tag, served, bundle.manifest, pins)
            build_bento(Path(draft), tag)
    return tag


def _pins(closure: Closure, manifest: Manifest) -> list[str]:
    packages = closure.packages - (ENGINES - {manifest.engine})
    return sorted(requirements(packages) + [f"{name}=={installed(name)}" for name in ALSO])


def _hash(bundle: Bundle, project: Path, files: list[Path], pins: list[str]) -> str:
    state = hashlib.sha256(bundle.digest.encode())
    for path in sorted(files):
        state.update(f"\n{path}\n".encode() + (project / path).read_bytes())
    state.update("\n".join([SERVICE, SERVE, *pins]).encode())
    return state.hexdigest()[:12]


def _fill(draft: Path, project: Path, files: list[Path], bundle: Bundle, served: ServedVersion) -> None:
    for path in files:
        (draft / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / path, draft / path)
    shutil.copytree(bundle.path, draft / BUNDLE)
    (draft / RELEASE).write_text(json.dumps(asdict(served)) + "\n", encoding="utf-8")
    (draft / "service.py").write_text(SERVICE, encoding="utf-8")
    (draft / "serve.py").write_text(SERVE, encoding="utf-8")


def _describe(draft: Path, tag: str, served: ServedVersion, manifest: Manifest, pins: list[str]) -> None:
    """Writes the bentofile; JSON is YAML."""
    name, _, _ = tag.partition(":")
    content: dict[str, Any] = {
        "service": "service:service",
        "name": name,
        "description": f"{manifest.model} version {served.version}: {manifest.metric} "
        f"{manifest.score.value:.3f} on {manifest.score.cases} held-out cases, {manifest.engine} {manifest.numerics}.",
        "labels": {
            "model": served.model,
            "version": str(served.version),
            "digest": served.digest[:12],
            "engine": manifest.engine,
            "numerics": manifest.numerics,
        },
        "include": ["*"],
        "python": {"packages": pins, "lock_packages": False},
    }
    (draft / "bentofile.yaml").write_text(json.dumps(content, indent=2), encoding="utf-8")


def build_bento(draft: Path, tag: str) -> None:
    """Runs `bentoml build`, in another process, because it imports the draft's packages, which have the names of ours.

    The draft is the working folder and its bentofile is named, because BentoML searches no hidden folders.
    """
    command = [sys.executable, "-m", "bentoml", "build", "--bentofile", "bentofile.yaml"]
    command += ["--version", tag.partition(":")[2]]
    expected = f"a Bento in {bento_folder(tag).parent}"
    try:
        done = subprocess.run(
            command,
            cwd=draft,
            env={**serve_environment(), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=BUILD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingService(
            f"`bentoml build` of {tag} took longer than {BUILD_LIMIT_S:g} s and was stopped",
            expected=expected,
            fix="`visionloop package` tries again; look for what else keeps this machine busy",
        ) from error
    if done.returncode != 0 or not (bento_folder(tag) / "bento.yaml").is_file():
        raise MissingService(
            f"`bentoml build` of {tag} failed: {_why(done.stderr or done.stdout)}",
            expected=expected,
            fix="read the message above; `visionloop package` tries again",
        )


def _why(text: str) -> str:
    """BentoML's last line that is not advice."""
    advice = ("If you are trying to import", "If you are attempting to import")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(advice)]
    return lines[-1] if lines else "no message"


def serve_environment() -> dict[str, str]:
    """The environment for `serve_command`: ours without what would put this project's packages before the Bento's."""
    not_ours = ("PYTHONPATH", "PYTHONSAFEPATH", "BENTOML_CONFIG")
    return {name: value for name, value in settings().child_environment().items() if name not in not_ours}


def bento_folder(tag: str) -> Path:
    """The folder of a Bento, whether or not it exists."""
    name, _, version = tag.partition(":")
    return settings().var / "bentoml" / "bentos" / name / version


def digest_of(tag: str) -> str:
    """The digest of the bundle in a Bento; "" where this machine has no such Bento."""
    try:
        return str(json.loads((bento_folder(tag) / "src" / RELEASE).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def process_name(tag: str) -> str:
    """The supervisor's name for the service of a Bento."""
    return tag.replace(":", "-")


def serve_command(tag: str, port: int) -> list[str]:
    """The command that serves a Bento in one process on `port`.

    Raises:
        NotFound: there is no such Bento.
    """
    script = bento_folder(tag) / "src" / "serve.py"
    if not script.is_file():
        raise NotFound(
            f"there is no Bento {tag}", expected=str(script), fix="`visionloop package` builds it from the registry"
        )
    return [sys.executable, str(script), "--port", str(port)]
