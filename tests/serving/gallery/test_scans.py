"""Scans in the page: the mask lies exactly on the scan, and the patient's right is on the left, whatever the affine."""

from __future__ import annotations

import gzip
import shutil
import struct
from typing import Any

import cv2
import httpx
import nibabel as nib
import numpy as np
import pytest

from tests.browsers import Visitor
from tests.serving.gallery import planted, results
from tests.serving.gallery.conftest import EMAIL, Open
from tests.serving.people import Person

pytestmark = pytest.mark.slow

SHAPE = (40, 32, 12)
TURNS = ("RAS", "LPS", "LAS", "SRA", "PIR")
"""What a file's axes run towards."""
SPACING = (1.0, 1.5, 3.0)


def scan(turn: str, slope: float = 1.0) -> tuple[bytes, bytes]:
    """A scan and its mask, stored with the axes that `turn` names: a bright block at the patient's right, in front and
    above, in noise. It is asymmetric along every axis. `slope`: of the header."""
    voxels = np.random.default_rng(0).integers(0, 60, SHAPE).astype(np.int16)
    voxels[28:36, 20:27, 7:10] = 1000
    ras = nib.Nifti1Image(voxels, np.diag([*SPACING, 1.0]))
    mask = nib.Nifti1Image((voxels == 1000).astype(np.uint8), ras.affine)
    start = nib.orientations.io_orientation(ras.affine)
    way = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(tuple(turn)))
    stored = [one.as_reoriented(way) for one in (ras, mask)]
    files = [bytearray(one.to_bytes()) for one in stored]
    struct.pack_into("<f", files[0], 112, slope)  # scl_slope
    return tuple(gzip.compress(bytes(one), 1, mtime=0) for one in files)  # type: ignore[return-value]


def bounds(flags: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is set."""
    rows, columns = np.flatnonzero(flags.any(axis=1)), np.flatnonzero(flags.any(axis=0))
    assert len(rows), "nothing is there"
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def grey(content: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def turned(persons: list[Person]) -> dict[str, str]:
    """The id of a run for each of `TURNS`."""
    runs = [results.scan(*scan(turn), owner=EMAIL, prediction_id="0" * 32) for turn in TURNS]
    return dict(zip(TURNS, planted.plant(*runs), strict=True))


@pytest.mark.parametrize("turn", TURNS)
def test_pictures_of_slices_are_hung_right_and_the_mask_fits(
    anna: httpx.Client, turned: dict[str, str], turn: str
) -> None:
    run = turned[turn]
    about = anna.get(f"/runs/{run}/slices/").json()
    axial = next(one for one in about["axes"] if one["name"] == "axial")
    assert [axial[side] for side in ("left", "right", "top", "bottom")] == ["R", "L", "A", "P"]
    address = f"/runs/{run}/slices/{axial['axis']}/{axial['first']}.png"
    shown = grey(anna.get(address).content)
    layer = grey(anna.get(f"{address}?mask=1").content)
    assert shown.shape == layer.shape[:2]
    assert bounds(shown > 200) == bounds(layer[:, :, 3] > 0)
    left, top, right, bottom = bounds(layer[:, :, 3] > 0)
    height, width = shown.shape
    # x 28..36 of 40 voxels to the right, seen from the feet: at the left; y 20..27 of 32 to the front: at the top.
    assert left / width == pytest.approx(4 / 40, abs=0.01)
    assert right / width == pytest.approx(12 / 40, abs=0.01)
    assert top / height == pytest.approx(5 / 32, abs=0.01)
    assert bottom / height == pytest.approx(12 / 32, abs=0.01)


def test_a_slice_that_is_not_there_and_a_window_of_words(anna: httpx.Client, usual: dict[str, str]) -> None:
    run = usual["scan"]
    assert anna.get(f"/runs/{run}/slices/2/11.png").status_code == 200
    assert anna.get(f"/runs/{run}/slices/2/12.png").status_code == 404
    assert anna.get(f"/runs/{run}/slices/3/0.png").status_code == 404
    assert anna.get(f"/runs/{run}/slices/2/0.png?low=dark").status_code == 422


def test_slices_are_for_those_who_may_see_the_run(bert: httpx.Client, usual: dict[str, str], web: str) -> None:
    run = usual["scan"]
    for other in (bert, httpx.Client(base_url=web, timeout=30)):
        assert other.get(f"/runs/{run}/slices/").status_code == 404
        assert other.get(f"/runs/{run}/slices/2/0.png").status_code == 404


@pytest.mark.parametrize("turn", TURNS)
def test_niivue_lays_the_mask_exactly_on_the_scan(shown: Open, turned: dict[str, str], turn: str) -> None:
    page = shown(turned[turn]).page
    canvas = page.locator("[data-scan]")
    page.get_by_role("button", name="Axial").click()
    page.get_by_label("Opacity").fill("100")
    page.get_by_label("White above").fill("100")  # the noise is dark, then
    page.wait_for_timeout(500)
    with_mask = cv2.imdecode(np.frombuffer(canvas.screenshot(), np.uint8), cv2.IMREAD_COLOR).astype(int)
    page.keyboard.down("h")
    page.wait_for_timeout(500)
    without = cv2.imdecode(np.frombuffer(canvas.screenshot(), np.uint8), cv2.IMREAD_COLOR).astype(int)
    page.keyboard.up("h")
    orange = (with_mask[:, :, 2] > 200) & (with_mask[:, :, 0] < 120)
    bright = opened(without.min(axis=2) > 200)  # without thin lines: the cross, letters
    found, expected = bounds(opened(orange)), bounds(bright)
    assert np.abs(np.subtract(found, expected)).max() <= 1
    centre = (found[0] + found[2]) / 2 / orange.shape[1], (found[1] + found[3]) / 2 / orange.shape[0]
    assert centre[0] < 0.5, "the patient's right is on the left"
    assert centre[1] < 0.5, "the front is on top"


def opened(flags: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(flags.astype(np.uint8), cv2.MORPH_OPEN, np.ones((25, 25), np.uint8)) > 0


def test_without_webgl_there_are_pictures_of_slices(shown: Open, turned: dict[str, str]) -> None:
    person = shown(turned["LPS"], "?viewer=slices")
    page = person.page
    page.locator("[data-slice][alt='Axial, 8 of 12']").wait_for()
    assert [page.locator(f"[data-mark-{side}]").inner_text() for side in ("left", "right", "top")] == ["R", "L", "A"]
    page.locator("[data-slice-number]").press("ArrowRight")
    page.locator("[data-slice][alt='Axial, 9 of 12']").wait_for()
    page.get_by_role("button", name="Sagittal").click()
    page.locator("[data-slice][alt^='Sagittal']").wait_for()
    assert person.axe() == []


def test_a_browser_without_webgl_gets_them_by_itself(
    browser: Any, web: str, persons: list[Person], turned: dict[str, str]
) -> None:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    plain = browser.browser_type.launch(executable_path=path, args=["--no-sandbox", "--disable-3d-apis"])
    visitor = Visitor(plain, web)
    visitor.page.context.add_cookies([persons[0].cookie(web)])
    visitor.open(f"/runs/{turned['RAS']}/")
    visitor.page.locator("[data-slice][alt='Axial, 8 of 12']").wait_for()
    assert not visitor.page.locator("[data-scan]").is_visible()
    visitor.page.get_by_role("button", name="No, correct it").click()
    visitor.page.get_by_label("a mask that you made elsewhere").wait_for()
    assert not visitor.page.get_by_role("button", name="Brush").is_visible()
    plain.close()
    assert visitor.faults == []
