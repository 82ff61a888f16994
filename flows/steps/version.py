"""Registers a bundle as a version, packages a version, and moves the alias back after a rollback."""

from __future__ import annotations

import json
from pathlib import Path

from flows.steps.deciding import alias_lock
from registry.core import journal
from registry.core.files import write_file
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.mlflow_registry import CHAMPION, PREVIOUS, Version, Versions


def register(model: str, bundle: Bundle) -> Version:
    """Registers the bundle as a version in MLflow. Skips a bundle that is registered already."""
    with journal.step("register", "Register", model, usually_s=8) as running:
        stamp = settings().build / model / "registered.json"
        known = _known(stamp, bundle)
        if known is not None:
            running.skip(f"it is version {known.number} already")
            return known
        version = Versions().register(bundle)
        write_file(stamp, json.dumps({**version.__dict__, "store": settings().mlflow_address}))
        running.note = f"version {version.number}"
        journal.fact(
            "register",
            f"version {version.number}, bundle {version.digest[:12]}",
            model,
            link=f"{settings().mlflow_address}/#/models/{model}/versions/{version.number}",
            label="in MLflow",
        )
        return version


def _known(stamp: Path, bundle: Bundle) -> Version | None:
    """The version in the stamp, if MLflow still has it. Asks over HTTP, because importing MLflow takes seconds."""
    import httpx

    try:
        fields = json.loads(stamp.read_text())
        if fields.pop("store") != settings().mlflow_address or fields["digest"] != bundle.digest:
            return None
        version = Version(**{**fields, "aliases": tuple(fields["aliases"])})
        answer = httpx.get(
            f"{settings().mlflow_address}/api/2.0/mlflow/model-versions/get",
            params={"name": version.model, "version": str(version.number)},
            timeout=5,
            trust_env=False,
        )
        tags = {tag["key"]: tag["value"] for tag in answer.json()["model_version"].get("tags", [])}
    except (OSError, ValueError, KeyError, TypeError, httpx.HTTPError, httpx.InvalidURL):
        return None
    return version if tags.get("visionloop.digest") == version.digest else None


def package(version: Version) -> str:
    """Builds the Bento of a version. Returns its tag."""
    from serving.releases import packaging

    with journal.step("package", "Package", version.model, usually_s=8) as running:
        tag = packaging.package(version, Versions().fetch(version))
        running.note = tag
    return tag


def return_alias(model: str, left: int, returned_to: int) -> bool:
    """After a rollback: if the version `left` is champion, makes the one that the traffic returned to champion.

    It does not if the gate refused that version: a version released with --anyway never becomes champion.
    """
    from serving.releases import grants

    versions = Versions()
    with alias_lock(model):
        champion = versions.find(model, CHAMPION)
        if left == returned_to or champion is None or champion.number != left:
            return False
        back = versions.get(model, returned_to)
        if PREVIOUS not in back.aliases and not grants.answer_for(model, back.digest).granted:
            return False
        versions.promote(back)
    return True
