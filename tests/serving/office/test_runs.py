"""Runs that the pages start, through a real Prefect server and our worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.stack.control import Stack
from registry.core.errors import VisionloopError
from serving.operations import prefect_api
from tests.browsers import Visitor
from tests.bundles import MODEL
from tests.serving.office.test_imports import zipped
from tests.waiting import until

pytestmark = pytest.mark.slow
READY_S = 150


@pytest.fixture(scope="module")
def worker(stack: Stack) -> Iterator[None]:
    """Prefect's server and the worker, once it has offered what the pages start."""
    from flows.stack import layout

    specs = {one.name: one for one in layout.specs(stack.config)}
    for name in ("prefect", "flows"):
        stack.start_spec(specs[name])
    until(_offered, READY_S)
    yield
    for name in ("flows", "prefect"):
        stack.stop(name)


def _offered() -> bool:
    try:
        prefect_api._ask("GET", f"/deployments/name/release/release-{MODEL}")
    except VisionloopError:
        return False
    return True


def test_a_release_is_followed_to_its_end(worker: None, as_role: Callable[[str], Visitor], live: str) -> None:
    """MLflow is away here, so that the run fails, and says why."""
    visitor = as_role("operator")
    page = visitor.page
    visitor.open(f"/office/models/{MODEL}/release/?version=1")
    page.get_by_label("Do it although the gate did not grant this version").check()
    page.get_by_label("Reason").fill("it was better")
    page.get_by_role("button", name="Release", exact=True).click()
    page.get_by_text("This page follows it").wait_for()
    page.get_by_role("heading", name=f"release of {MODEL}: it was better").wait_for()
    page.get_by_text("Failed", exact=True).wait_for(timeout=READY_S * 1000)
    assert page.get_by_role("link", name="Cancel this run").count() == 0
    assert visitor.axe() == []
    visitor.open("/office/runs/")
    page.get_by_role("link", name=f"release of {MODEL}: it was better").wait_for()


def test_a_run_is_cancelled(worker: None, as_role: Callable[[str], Visitor]) -> None:
    visitor = as_role("operator")
    page = visitor.page
    visitor.open(f"/office/runs/train/?model={MODEL}")
    page.get_by_label("Reason").fill("new scans")
    page.get_by_role("button", name="Start the training").click()
    page.get_by_role("link", name="Cancel this run").click()
    page.get_by_label("Reason").fill("too early")
    page.get_by_role("button", name="Cancel the run").click()
    page.get_by_text("Cancelled", exact=True).wait_for(timeout=READY_S * 1000)


def test_an_import_is_followed_and_its_zip_is_deleted(
    worker: None, as_role: Callable[[str], Visitor], project: Path
) -> None:
    """The zip has no pictures, so that the run fails, and says why."""
    visitor = as_role("operator")
    page = visitor.page
    visitor.open("/office/runs/import/?model=fruit_features")
    packed = {"name": "fruit.zip", "mimeType": "application/zip", "buffer": zipped()}
    page.get_by_label("Zip").set_input_files(packed)
    page.get_by_label("Reason").fill("new pictures")
    page.get_by_role("button", name="Import").click()
    page.get_by_role("heading", name="import data of fruit_features: new pictures").wait_for()
    page.get_by_text("Failed", exact=True).wait_for(timeout=READY_S * 1000)
    assert list((project / "var" / "imports").glob("*.zip")) == []
