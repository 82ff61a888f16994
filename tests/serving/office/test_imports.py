"""A zip goes from the browser to the folder where the import's run takes it up."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browsers import Visitor

pytestmark = pytest.mark.slow

AsRole = Callable[[str], Visitor]
MODEL = "fruit_features"


def zipped() -> bytes:
    """Three megabytes, so that it comes in pieces."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("apple/1.jpg", bytes(3 << 20))
    return packed.getvalue()


@pytest.fixture
def importing(as_role: AsRole) -> Iterator[Visitor]:
    visitor = as_role("operator")
    visitor.open(f"/office/runs/import/?model={MODEL}")
    yield visitor
    visitor.faults.clear()  # the console names the refusal


def _send(visitor: Visitor, content: bytes) -> Any:
    page = visitor.page
    page.get_by_label("Zip").set_input_files({"name": "fruit.zip", "mimeType": "application/zip", "buffer": content})
    page.get_by_label("Reason").fill("new pictures")
    page.get_by_role("button", name="Import").click()
    return page


def test_without_prefect_nothing_is_kept(importing: Visitor, project: Path) -> None:
    _send(importing, zipped()).get_by_text("Prefect does not answer").wait_for()
    assert list((project / "var" / "imports").glob("*")) == []


def test_what_is_no_zip_is_refused(importing: Visitor, project: Path) -> None:
    _send(importing, b"GIF89a" + bytes(100)).get_by_text("the file is not a zip").wait_for()
    assert list((project / "var" / "imports").glob("*")) == []


def test_a_data_set_is_not_replaced_by_accident(importing: Visitor, project: Path) -> None:
    folder = project / "data" / MODEL
    folder.mkdir(parents=True)
    (folder / "cases.csv").write_text("case\n")
    _send(importing, zipped()).get_by_text(f"there is a data set of {MODEL} already").wait_for()
    (folder / "cases.csv").unlink()
    folder.rmdir()
