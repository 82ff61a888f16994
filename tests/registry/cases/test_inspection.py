"""What Great Expectations itself says before training: each damage has its own message, and whole data none."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from monitoring.checks import suites, validate
from registry.cases import inspection, mask_labels
from registry.core.settings import settings
from registry.datasets.picture_set import PictureSet
from tests.registry.made import CLASSES, HEIGHT, WIDTH, box_set, class_set, mask_set, scene

SMALL = {"seed": 3, "train": 18, "val": 9, "test": 9}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VISIONLOOP_ROOT", str(tmp_path))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def starters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("starters")
    class_set().synthesise(root / "classes", SMALL)
    box_set().synthesise(root / "boxes", SMALL)
    mask_set().synthesise(root / "masks", SMALL)
    return root


def breaches(kind: PictureSet, root: Path) -> dict[str, str]:
    """Column -> message of every check that stops a training."""
    outcomes, _ = validate.run_checks(kind.model, kind.inspect(root), suites.body_of(kind.model, kind.checks()))
    return {outcome.column: outcome.says for outcome in outcomes if not outcome.passed and not outcome.warning}


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def copy_of(body: bytes) -> bytes:
    """Re-encoded and a little brighter."""
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    lighter = cv2.convertScaleAbs(pixels, alpha=1.03, beta=6)
    return cv2.imencode(".jpg", lighter, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()


@pytest.mark.parametrize("kind", [class_set(), box_set(), mask_set()], ids=["classes", "boxes", "masks"])
def test_starter_data_passes(kind: PictureSet, starters: Path) -> None:
    assert breaches(kind, starters / kind.labels) == {}


def test_every_damage_of_a_class_set_is_named(starters: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starters / "classes", tmp_path / "set")
    at = {case.id: case.input for case in class_set().cases(root)}
    at["train-0000"].write_bytes(at["train-0000"].read_bytes()[:-300])
    at["train-0001"].unlink()
    at["train-0002"].write_bytes(cv2.imencode(".png", np.full((40, 40, 3), 90, np.uint8))[1].tobytes())
    tiny = cv2.resize(cv2.imread(str(at["train-0003"])), (12, 12))
    at["train-0003"].write_bytes(cv2.imencode(".png", tiny)[1].tobytes())
    at["train-0004"].write_bytes(at["train-0007"].read_bytes())
    at["train-0005"].write_bytes(at["val-0002"].read_bytes())
    at["train-0008"].write_bytes(copy_of(at["val-0005"].read_bytes()))
    (root / "train" / "disc" / "stray.jpg").write_bytes(scene(np.random.default_rng(99), ("disc",))[0])
    (root / "train" / "hat").mkdir()
    (root / "train" / "hat" / "h.jpg").write_bytes(scene(np.random.default_rng(98), ("disc",))[0])
    edit(root / "cases.csv", lambda text: text.replace("train-0009,train", "train-0009,val"))
    found = breaches(class_set(), root)
    assert "train-0000, train-0001: the file is missing, truncated or not a picture" in found["decoding_error"]
    assert found["contrast"].startswith("train-0002: ")
    assert found["width"].startswith("train-0003: ")
    assert found["height"].startswith("train-0003: ")
    assert found["content"].startswith("train-0004, train-0005, train-0007, val-0002: ")
    assert "leakage" in found["content"]
    assert found["likeness"].startswith("train-0008, val-0005: ")
    assert found["row"].startswith("train/disc/stray.jpg, train/hat/h.jpg: ")
    assert found["class"].startswith("train/hat/h.jpg: ")
    assert found["split, folder"].startswith("train-0009: ")
    assert len(found) == 9  # `split, folder` is one column


def test_every_damage_of_a_box_set_is_named(starters: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starters / "boxes", tmp_path / "set")
    at = {case.id: Path(case.truth) for case in box_set().cases(root)}
    at["train-0000"].write_text("0 0.5 0.5\n")
    at["train-0001"].unlink()
    at["train-0002"].write_text("7 0.5 0.5 0.1 0.1\n")
    at["train-0003"].write_text("0 0.5 0.5 0 0.1\n")
    at["train-0004"].write_text("0 0.99 0.5 0.3 0.1\n")
    at["train-0005"].write_text("0 300 200 30 10\n")
    (root / "labels" / "train" / "stray.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    found = breaches(box_set(), root)
    assert found["label_error"].startswith("train-0000, train-0001: the label file is missing or has lines")
    assert found["highest_class"].startswith("train-0002: ")
    assert found["smallest_side"].startswith("train-0003: ")
    assert found["furthest_outside"].startswith("train-0004, train-0005: boxes reach over the picture's edge")
    assert found["row"].startswith("labels/train/stray.txt: ")
    assert set(found) == {"label_error", "highest_class", "smallest_side", "furthest_outside", "row"}


def test_every_damage_of_a_mask_set_is_named(starters: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starters / "masks", tmp_path / "set")
    at = {case.id: Path(case.truth) for case in mask_set().cases(root)}
    at["train-0000"].write_bytes(mask_labels.encode(np.full((HEIGHT, WIDTH), 4, np.uint8), 4))
    at["train-0001"].unlink()
    at["train-0002"].write_bytes(mask_labels.encode(np.ones((HEIGHT, 50), np.uint8), len(CLASSES)))
    shutil.copy(at["train-0004"], root / "masks" / "train" / "stray.png")
    for case in mask_set().cases(root):
        if case.split == "val":
            at[case.id].write_bytes(mask_labels.encode(np.zeros((HEIGHT, WIDTH), np.uint8), len(CLASSES)))
    found = breaches(mask_set(), root)
    assert found["mask_error"].startswith("train-0000, train-0001: the mask is missing, or is not one")
    assert found["width, mask_width"].startswith("train-0002: ")
    assert found["row"].startswith("masks/train/stray.png: ")
    assert "no validation picture has a mask" in found["classes_shown"]
    assert set(found) == {"mask_error", "width, mask_width", "row", "classes_shown"}


def keep(root: Path, wanted: Callable[[list[str]], bool]) -> None:
    """Leaves only some rows of the table, and their files."""
    head, *lines = (root / "cases.csv").read_text().splitlines()
    for line in lines:
        if not wanted(cells := line.split(",")):
            (root / cells[3]).unlink()
            for label_of in (inspection.label_path, mask_labels.mask_path):
                label_of(root, cells[3]).unlink(missing_ok=True)
    kept = [line for line in lines if wanted(line.split(","))]
    (root / "cases.csv").write_text("\n".join([head, *kept, ""]))


ONE_MESSAGE = {
    "no test part": (lambda cells: cells[1] != "test", "there is no test part"),
    "nothing to choose by": (lambda cells: cells[1] != "val", "nothing to choose the epoch by"),
    "no training split": (lambda cells: cells[1] != "train", "there is nothing to train on"),
    "one picture": (lambda cells: cells[0] == "train-0002", "there is no test part"),
}


@pytest.mark.parametrize("case", ONE_MESSAGE)
@pytest.mark.parametrize("kind", [class_set(), box_set(), mask_set()], ids=["classes", "boxes", "masks"])
def test_a_set_that_lacks_a_part_gets_one_clear_message(
    kind: PictureSet, case: str, starters: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(starters / kind.labels, tmp_path / "set")
    wanted, said = ONE_MESSAGE[case]
    keep(root, wanted)
    outcomes, _ = validate.run_checks(kind.model, kind.inspect(root), suites.body_of(kind.model, kind.checks()))
    found = [outcome.says for outcome in outcomes if not outcome.passed]
    assert any(said in one for one in found)
    more = {"one picture": 1 + (kind.labels == "classes")}.get(case, 0)  # nothing to choose by, and all of one class
    assert len(found) == 1 + more, found


def test_a_class_that_is_held_out_but_never_trained_stops_it_and_one_that_is_nowhere_does_not(
    starters: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(starters / "classes", tmp_path / "set")
    keep(root, lambda cells: "train/disc/" not in cells[3])
    assert list(breaches(class_set(), root)) == ["training_of_class"]
    keep(root, lambda cells: "/disc/" not in cells[3])
    assert breaches(class_set(), root) == {}


def test_one_class_for_all_and_no_boxes_at_all_stop_it(starters: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starters / "classes", tmp_path / "one")
    keep(root, lambda cells: "/disc/" in cells[3])
    assert breaches(class_set(), root) == {"class": "the training pictures are all of one class"}
    root = shutil.copytree(starters / "boxes", tmp_path / "none")
    for path in root.rglob("labels/*/*.txt"):
        path.write_text("")
    assert breaches(box_set(), root) == {"boxes": "no test picture has a box"}  # the last of three


def test_a_class_that_drowns_the_others_stops_it(tmp_path: Path) -> None:
    kind = class_set()
    for n in range(30):
        name = "disc" if n else "square"
        path = tmp_path / "set" / "train" / name / f"t{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(scene(np.random.default_rng(n), (name,))[0])
    path = tmp_path / "set" / "val" / "disc" / "v.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(scene(np.random.default_rng(77), ("disc",))[0])
    held = path.parents[2] / "test" / "disc" / "t.jpg"
    held.parent.mkdir(parents=True)
    held.write_bytes(scene(np.random.default_rng(78), ("disc",))[0])
    rows = [f"t{n},train,x,train/{'disc' if n else 'square'}/t{n}.jpg" for n in range(30)]
    rows += ["v,val,x,val/disc/v.jpg", "t,test,x,test/disc/t.jpg"]
    (tmp_path / "set" / "cases.csv").write_text("\n".join(["case,split,origin,file", *rows, ""]))
    assert list(breaches(kind, tmp_path / "set")) == ["class_share"]


def test_turned_and_odd_pictures_are_not_taken_for_broken_ones(starters: Path, tmp_path: Path) -> None:
    root = shutil.copytree(starters / "classes", tmp_path / "set")
    cases = class_set().cases(root)
    exif = Image.Exif()
    exif[0x0112] = 6
    for case, mode in zip(cases, ("RGB", "CMYK", "L"), strict=False):
        image = Image.open(io.BytesIO(case.input.read_bytes())).convert(mode)
        image.save(case.input, "JPEG", exif=exif, quality=95)
    table = class_set().inspect(root)
    assert not table["decoding_error"].any()
    assert breaches(class_set(), root) == {}


def test_messages_say_how_to_fix(starters: Path) -> None:
    for kind in (class_set(), box_set()):
        assert all(check.fix and check.says for check in kind.checks())
