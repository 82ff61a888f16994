"""An operator runs the place from a browser: data, trainings and releases on a whole real stack."""

from __future__ import annotations

import io
import os
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from registry.models.skin_segmentation import phantom
from registry.models.skin_segmentation.data import files_of
from tests.browsers import Visitor, chromium
from tests.bundles import MODEL
from tests.conftest import free_ports, make_workspace
from tests.flows.steps.test_loop import TINY, Project
from tests.mlflow_stores import empty_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
WITHIN_S = 900
ADDRESS = f"/office/models/{MODEL}/"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A whole stack. Whatever a version scores, the gate's floor is no reason to refuse it."""
    root = make_workspace(tmp_path_factory.mktemp("office") / "project", **TINY)
    spec = root / "registry" / "models" / MODEL / "__init__.py"
    spec.write_text(spec.read_text().replace("floor=0.80", "floor=0.0"))
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    empty_store(root / "var" / "mlflow" / "mlflow.db")
    env = {**os.environ, **free_ports(), "VISIONLOOP_ROOT": str(root)}
    found = Project(root, {**env, "VISIONLOOP_MONITOR_EVERY_S": "86400"})
    try:
        done = found("up", timeout=900)
        assert done.returncode == 0, done.stderr
        yield found
    finally:
        assert found("down").returncode == 0


@pytest.fixture
def visitor(project: Project) -> Iterator[Visitor]:
    """An operator who is logged in."""
    made = project("users", "create", "olga@example.org", "--role", "operator")
    assert made.returncode == 0, made.stderr
    with chromium() as browser:
        found = Visitor(browser, project.port("web"))
        found.page.set_default_timeout(60_000)
        found.open("/accounts/login/?next=/office/")
        found.page.get_by_label("E-mail address").fill("olga@example.org")
        found.page.get_by_label("Password").fill(made.stdout.strip())
        found.page.locator("main").get_by_role("button", name="Log in", exact=True).click()
        found.page.get_by_role("heading", name="Is everything all right?").wait_for()
        yield found
        found.close()


def zipped(seed: int, cases: int = 24) -> bytes:
    """Drawn scans with masks, as a person's zip has them."""
    rng, packed = np.random.default_rng(seed), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for n in range(cases):
            image, mask = files_of(phantom.make(rng, 2))
            file.writestr(f"scans/images/scan-{seed}-{n}.nii", image)
            file.writestr(f"scans/masks/scan-{seed}-{n}.nii", mask)
    return packed.getvalue()


def _end_of_run(page: Any) -> str:
    """Follows a run on its page, which looks by itself, to the end. Returns its state."""
    page.get_by_role("link", name="In Prefect").wait_for()
    ended = page.get_by_text(re.compile(r"^(Completed|Failed|Crashed|Cancelled)$"))
    ended.wait_for(timeout=WITHIN_S * 1000)
    return str(ended.inner_text())


def _ask(page: Any, button: str, why: str) -> None:
    """Gives a reason on the page between a button and its effect."""
    if (anyway := page.get_by_label("Do it although the gate did not grant this version")).count():
        anyway.check()
    page.get_by_label("Reason").fill(why)
    page.get_by_role("button", name=button, exact=True).click()


def _import(visitor: Visitor, seed: int, replace: bool) -> None:
    page = visitor.page
    visitor.open(f"/office/runs/import/?model={MODEL}")
    packed = {"name": "scans.zip", "mimeType": "application/zip", "buffer": zipped(seed)}
    page.get_by_label("Zip").set_input_files(packed)
    if replace:
        page.get_by_label("Replace the data set").check()
    page.get_by_label("Reason").fill(f"scans of {seed}")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("heading", name=f"import data of {MODEL}").wait_for(timeout=120_000)
    assert _end_of_run(page) == "Completed", page.inner_text("main")


def _train(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open(f"/office/runs/train/?model={MODEL}")
    _ask(page, "Start the training", "new scans")
    state = _end_of_run(page)
    assert state == "Completed" or "refused" in page.inner_text("main"), page.inner_text("main")


def _change(visitor: Visitor, action: str, version: int, button: str) -> None:
    """Release, canary, shadow or A/B: a run, which the page follows."""
    visitor.open(f"{ADDRESS}{action}/?version={version}")
    _ask(visitor.page, button, f"to see the {action}")
    assert _end_of_run(visitor.page) == "Completed", visitor.page.inner_text("main")


def _at_once(visitor: Visitor, link: str, button: str) -> None:
    """Promotion or rollback: done when the page comes back."""
    visitor.open(ADDRESS)
    visitor.page.get_by_role("link", name=link).click()
    _ask(visitor.page, button, "it is time")
    visitor.page.get_by_text("Done.").wait_for()


def _shows(visitor: Visitor, text: str) -> None:
    visitor.open("/office/")
    visitor.page.locator("#releases").get_by_text(text).wait_for()


def test_an_operator_runs_the_place(project: Project, visitor: Visitor) -> None:
    imports = project.root / "var" / "imports"
    _import(visitor, 1, replace=False)
    _train(visitor)
    _shows(visitor, "version 1 gets every request")
    _import(visitor, 2, replace=True)
    assert list(imports.iterdir()) == []
    _train(visitor)
    _change(visitor, "release", 1, "Release")
    _shows(visitor, "version 1 gets every request")
    _change(visitor, "canary", 2, "Begin the canary")
    _shows(visitor, "(canary), version 1 the rest")
    _at_once(visitor, "Promote version 2", "Promote")
    _shows(visitor, "version 2 gets every request")
    _at_once(visitor, "Roll back to version 1", "Roll back")
    _shows(visitor, "version 1 gets every request")
    _change(visitor, "shadow", 2, "Begin the shadow")
    _shows(visitor, "version 2 gets copies (shadow)")
    _at_once(visitor, "end the trial of version 2", "Roll back")
    _change(visitor, "ab", 2, "Begin the A/B test")
    _shows(visitor, "version 2 gets 50 % (A/B)")
    _at_once(visitor, "end the trial of version 2", "Roll back")
    _shows(visitor, "version 1 gets every request")
    live = httpx.get(f"{project.port('router')}/v1/models", timeout=30).json()["models"]
    assert [one["version"] for one in live if one["name"] == MODEL] == [1]
    visitor.open("/office/lists/audit/")
    codes = visitor.page.locator("tbody code")  # shown shortened
    what = [str(codes.nth(n).get_attribute("title")) for n in range(codes.count())]
    done = ["rollback", "ab", "rollback", "shadow", "rollback", "promote", "canary", "release"]
    assert [one for one in what if one.startswith("release.")] == [f"release.{one}" for one in done]
    assert visitor.faults == []
    _old_zips_leave(imports)


def _old_zips_leave(imports: Path) -> None:
    """Nothing waits for this one, says Prefect; the keeper looks once a minute."""
    left = imports / "left.zip"
    left.write_bytes(b"PK")
    os.utime(left, (time.time() - 7200,) * 2)
    end = time.monotonic() + 120
    while left.exists() and time.monotonic() < end:
        time.sleep(1)
    assert not left.exists()
