"""Other people's data: each format gives the same cases, and what cannot be used is named."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from registry.errors import DataError
from registry.vision import yolo_labels
from registry.vision.dataset import BoxSet, TrueBox
from registry.vision.picture import decode
from registry.vision.yolo_labels import text_of
from tests.registry.vision import layouts
from tests.registry.vision.layouts import BOXES, CLASS_FORMATS, OURS, One, put, some
from tests.registry.vision.made import CLASSES, HEIGHT, WIDTH, box_set, class_set, contents, scene, some_boxes


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "ours"


def boxes_at(root: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Case -> its boxes by name, in pixels."""
    found = {}
    for case in box_set().cases(root):
        lines, problems = yolo_labels.parse(Path(case.truth).read_text())
        assert not problems
        found[case.id] = [(CLASSES[line.number], np.multiply(line.box, size * 2)) for line in lines]
    return found


@pytest.mark.parametrize("layout", BOXES)
def test_every_box_format_gives_the_same_boxes(layout: str, source: Path, out: Path) -> None:
    ones = some()
    BOXES[layout](source, ones)
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val, taken.unlabelled) == (8, 4, 0)
    assert any("hat (2)" in note for note in taken.notes) == (layout != "boxes_by_values")
    cases, found = box_set().cases(out), boxes_at(out)
    assert [(case.split, case.input.read_bytes()) for case in cases] == [(one.split, one.body) for one in ones]
    for one, case in zip(ones, cases, strict=True):
        wanted = [box for box in one.boxes if box.name in OURS]
        assert [name for name, _ in found[case.id]] == [OURS[box.name] for box in wanted]
        for (_, pixels), box in zip(found[case.id], wanted, strict=True):
            assert np.abs(pixels - box.box).max() < 0.5
    assert box_set().inspect(out).filter(["unknown_class", "empty_boxes", "boxes_outside"]).to_numpy().sum() == 0


@pytest.mark.parametrize("layout", CLASS_FORMATS)
def test_every_class_format_gives_the_same_classes(layout: str, source: Path, out: Path) -> None:
    ones = [one for one in some(16, 8) if layouts.class_of(one) in OURS]
    CLASS_FORMATS[layout](source, some(16, 8))
    taken = class_set().import_from(source, out, {})
    cases = class_set().cases(out)
    assert [(c.split, c.truth, c.input.read_bytes()) for c in cases] == [
        (one.split, OURS[layouts.class_of(one) or ""], one.body) for one in ones
    ]
    assert (taken.train, taken.val) == (sum(c.split == "train" for c in cases), sum(c.split == "val" for c in cases))


def test_our_own_data_set_is_a_format_too(source: Path, out: Path) -> None:
    for kind, name in ((class_set(), "a"), (box_set(), "b")):
        kind.synthesise(source / name, {"seed": 2, "train": 9, "val": 6})
        kind.import_from(source / name, out / name, {})
        old, new = contents(source / name), contents(out / name)
        assert {k: v for k, v in old.items() if k != "cases.csv"} == {k: v for k, v in new.items() if k != "cases.csv"}
        before, after = kind.cases(source / name), kind.cases(out / name)
        assert [case.attributes for case in before] == [case.attributes for case in after]


def test_columns_of_a_table_become_attributes_if_they_have_few_values(source: Path, out: Path) -> None:
    layouts.class_table(source, some(20, 8))
    taken = class_set().import_from(source, out, {})
    assert {tuple(case.attributes) for case in class_set().cases(out)} == {("who",)}
    assert any("number" in note for note in taken.notes)


def test_a_zip_is_imported_like_its_folder(source: Path, out: Path, tmp_path: Path) -> None:
    layouts.roboflow(source, some())
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, Path("My Data Set") / path.relative_to(source))
    box_set().import_from(source, out / "folder", {})
    box_set().import_from(tmp_path / "export.zip", out / "zip", {})
    assert contents(out / "zip") == contents(out / "folder")


def test_without_a_split_a_share_of_each_class_is_held_out(source: Path, out: Path) -> None:
    for n in range(48):
        body, _ = scene(np.random.default_rng([9, n]), (CLASSES[n % 3],))
        put(source / CLASSES[n % 3] / f"{n:03d}.jpg", body)
    taken = class_set().import_from(source, out, {"val_share": 0.25})
    assert (taken.train, taken.val) == (36, 12)
    held = [case.truth for case in class_set().cases(out) if case.split == "val"]
    assert all(held.count(name) == 4 for name in CLASSES)


def test_a_source_with_one_part_only_is_split(source: Path, out: Path) -> None:
    ones = [One(one.name, "train", one.body, one.boxes) for one in some()]
    layouts.roboflow(source, ones)
    taken = box_set().import_from(source, out, {})
    assert taken.val >= 2
    assert any("train part only" in note for note in taken.notes)


def test_a_test_part_is_held_out(source: Path, out: Path) -> None:
    ones = some()
    layouts.roboflow(source, ones)
    (source / "valid").rename(source / "test")
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val) == (8, 4)


def test_pictures_of_one_thing_stay_on_one_side(source: Path, out: Path) -> None:
    """Two shots each of 12 scenes: a split by name alone would put some on both sides."""
    for n in range(12):
        body, _ = scene(np.random.default_rng([4, n]), (CLASSES[n % 3],))
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        lighter = cv2.imencode(".jpg", cv2.convertScaleAbs(pixels, alpha=1.0, beta=8))[1].tobytes()
        put(source / CLASSES[n % 3] / f"a{n}.jpg", body)
        put(source / CLASSES[n % 3] / f"b{n}.jpg", lighter)
    class_set().import_from(source, out, {"val_share": 0.3})
    split = {case.id: case.split for case in class_set().cases(out)}
    assert len(split) == 24
    assert all(split[f"a{n}"] == split[f"b{n}"] for n in range(12))
    assert set(split.values()) == {"train", "val"}


def test_a_training_copy_of_a_held_out_picture_is_left_out_and_told(source: Path, out: Path) -> None:
    ones = some()
    pixels = cv2.imdecode(np.frombuffer(ones[-1].body, np.uint8), cv2.IMREAD_COLOR)
    lighter = cv2.imencode(".jpg", cv2.convertScaleAbs(pixels, alpha=1.0, beta=8))[1].tobytes()
    more = [One("exact", "train", ones[-2].body, ones[-2].boxes), One("nearly", "train", lighter, ones[-1].boxes)]
    layouts.yolo(source, [*ones, *more])
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val) == (8, 4)
    assert any("1 copies" in note for note in taken.notes)
    assert any("nearly" in note for note in taken.notes)


def test_look_alikes_are_kept_on_request_and_the_data_set_says_so(source: Path, out: Path) -> None:
    """Frames of a turntable: every training picture has its like among the held-out ones."""
    for n in range(6):
        body, _ = scene(np.random.default_rng([8, n]), (CLASSES[n % 2],))
        pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        put(source / "Test" / CLASSES[n % 2] / f"{n}.jpg", body)
        for k in (2, 4):
            lighter = cv2.imencode(".jpg", cv2.convertScaleAbs(pixels, alpha=1.0, beta=2 * k))[1].tobytes()
            put(source / "Training" / CLASSES[n % 2] / f"{n}_{k}.jpg", lighter)
    other, _ = scene(np.random.default_rng([8, 99]), (CLASSES[0],))
    put(source / "Training" / CLASSES[0] / "other.jpg", other)
    dropped = class_set().import_from(source, out / "dropped", {})
    assert (dropped.train, dropped.val) == (1, 6)
    assert any("12 of 13 training pictures left out" in note for note in dropped.notes)
    kept = class_set().import_from(source, out / "kept", {"look_alikes": "keep"})
    assert (kept.train, kept.val) == (13, 6)
    assert any("the metric will flatter" in note for note in kept.notes)
    assert (out / "kept" / "look-alikes-kept.txt").is_file()
    assert not class_set().inspect(out / "kept")["same_as"].any()


def test_pictures_of_other_kinds_are_told(source: Path, out: Path) -> None:
    layouts.class_folders(source, some(16, 8))
    put(source / "train" / "disc" / "phone.HEIC", b"...")
    assert any(".heic (1)" in note for note in class_set().import_from(source, out, {}).notes)


def test_one_picture_with_two_classes_is_left_out_and_told(source: Path, out: Path) -> None:
    layouts.class_folders(source, some(16, 8))
    first = some(16, 8)[1]
    put(source / "train" / "disc" / "disputed.jpg", first.body)
    taken = class_set().import_from(source, out, {})
    assert any("different classes: disputed, shot_01" in note for note in taken.notes)
    assert not {"disputed", "shot_01"} & {case.id for case in class_set().cases(out)}


def test_pictures_without_a_label_are_kept_for_prediction(source: Path, out: Path) -> None:
    layouts.yolo(source, some())
    put(source / "images" / "train" / "new.jpg", scene(np.random.default_rng(77), ())[0])
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val, taken.unlabelled) == (8, 4, 1)
    assert [path.name for path in (out / "unlabelled").iterdir()] == ["new.jpg"]
    alone = put(source.parent / "alone" / "x.jpg", some()[0].body).parent
    assert box_set().import_from(alone, out.with_name("alone-out"), {}).unlabelled == 1


# --- classes ---


def test_names_that_the_model_lacks_are_dropped_and_counted_or_renamed(source: Path, out: Path) -> None:
    layouts.yolo(source, some())
    taken = box_set().import_from(source, out / "dropped", {})
    assert any("left out, not among the model's classes: hat (2)" in note for note in taken.notes)
    taken = box_set().import_from(source, out / "renamed", {"map": {"hat": "square"}})
    assert not any("hat" in note for note in taken.notes)
    count = {name: sum(len(boxes) for boxes in boxes_at(out / name).values()) for name in ("dropped", "renamed")}
    assert count["renamed"] == count["dropped"] + 2


def test_coco_ids_of_a_model_that_knows_some_of_them(source: Path, out: Path) -> None:
    """Class numbers of other people mean nothing; names do."""
    body, _ = scene(np.random.default_rng(1), ())
    other, _ = scene(np.random.default_rng(2), ())
    names = "\n".join(f"  {n}: {name}" for n, name in enumerate(("person", "bicycle", "car", *["x"] * 40, "knife")))
    put(source / "data.yaml", f"names:\n{names}\n")
    for n, picture in enumerate((body, other)):
        put(source / "images" / ("train", "val")[n] / f"{n}.jpg", picture)
        put(source / "labels" / ("train", "val")[n] / f"{n}.txt", "43 0.5 0.5 0.2 0.2\n0 0.2 0.2 0.1 0.1\n")
    kind = BoxSet("m", ("knife", "Person"), some_boxes)
    kind.import_from(source, out, {})
    assert [line[0] for line in Path(kind.cases(out)[0].truth).read_text().splitlines()] == ["0", "1"]


def test_no_class_of_the_model_is_an_error_that_names_both(source: Path, out: Path) -> None:
    layouts.yolo(source, some())
    with pytest.raises(DataError) as caught:
        BoxSet("m", ("cat", "dog"), some_boxes).import_from(source, out, {})
    assert "hat (2)" in caught.value.found
    assert "cat, dog" in caught.value.expected
    assert "--map" in caught.value.mend


def test_a_missing_and_a_rare_class_are_told_but_do_not_stop(source: Path, out: Path) -> None:
    for n in range(40):
        name = "disc" if n < 36 else "square"
        put(source / name / f"{n}.jpg", scene(np.random.default_rng([5, n]), (name,))[0])
    notes = "\n".join(class_set().import_from(source, out, {}).notes)
    assert "no picture of 1 of the 3 classes, which cannot be learnt: yellow_vest" in notes
    assert "fewer than 10 training pictures: square (3)" in notes
    assert class_set().inspect(out)["class_trained"].all()


def test_open_classes_are_the_source_s_own(source: Path, out: Path) -> None:
    layouts.fruits_360(source, some(16, 8))
    kind = class_set(open_classes=True)
    kind.import_from(source, out, {})
    assert kind.classes(out) == ("DISC", "Square", "Yellow Vest")
    assert {case.truth for case in kind.cases(out)} == set(kind.classes(out))


def test_open_class_names_that_no_folder_can_have_are_mended(source: Path, out: Path) -> None:
    lines = ["path,label,split"]
    for n in range(8):
        put(source / f"{n}.jpg", scene(np.random.default_rng([3, n]), (CLASSES[n % 2],))[0])
        lines.append(f"{n}.jpg,{('half/half', '../up', 'fine')[n % 3]},{('train', 'val')[n // 6]}")
    put(source / "list.csv", "\n".join(lines))
    kind = class_set(open_classes=True)
    kind.import_from(source, out, {})
    assert kind.classes(out) == ("-up", "fine", "half-half")
    assert all(case.input.is_file() for case in kind.cases(out))
    assert not list(source.parent.glob("up*"))


# --- EXIF ---

MARKS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}


def lying(body: bytes, orientation: int) -> bytes:
    """The same picture as a camera held on its side stores it."""
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    stored = cv2.rotate(pixels, MARKS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(stored[:, :, ::-1]).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("orientation", MARKS)
def test_boxes_of_turned_pictures_stay_on_their_objects(orientation: int, source: Path, out: Path) -> None:
    ones = [One(one.name, one.split, lying(one.body, orientation), one.boxes) for one in some()]
    layouts.yolo(source, ones)  # shares of the upright picture
    box_set().import_from(source, out, {})
    found = boxes_at(out)
    for one in ones:
        wanted = [box.box for box in one.boxes if box.name in OURS]
        assert len(found[one.name]) == len(wanted)
        for (_, pixels), box in zip(found[one.name], wanted, strict=True):
            assert np.abs(pixels - box).max() < 0.5
    colour = {"disc": (40, 60, 220), "square": (220, 90, 40), "yellow_vest": (30, 220, 230)}
    for case in box_set().cases(out):
        upright = decode(case.input.read_bytes(), 10**6).pixels
        for name, (x1, y1, x2, y2) in found[case.id]:
            middle = upright[round((y1 + y2) / 2), round((x1 + x2) / 2)]
            assert np.abs(middle.astype(int) - colour[name]).max() < 40


def test_boxes_drawn_on_the_stored_picture_are_turned_with_it(source: Path, out: Path) -> None:
    """Programs that ignore EXIF state the stored size; its boxes are turned for orientations 6 and 8 alike."""
    ones = some()
    images, notes = [], []
    for n, one in enumerate(ones):
        orientation = (6, 8)[n % 2]
        put(source / one.split / f"{one.name}.jpg", lying(one.body, orientation))
        images.append({"id": n, "file_name": f"{one.split}/{one.name}.jpg", "width": HEIGHT, "height": WIDTH})
        for box in one.boxes:
            x1, y1, x2, y2 = box.box
            stored = (y1, WIDTH - x2, y2, WIDTH - x1) if orientation == 6 else (HEIGHT - y2, x1, HEIGHT - y1, x2)
            bbox = [stored[0], stored[1], stored[2] - stored[0], stored[3] - stored[1]]
            notes.append({"id": len(notes), "image_id": n, "category_id": layouts.THEIRS.index(box.name), "bbox": bbox})
    categories = [{"id": n, "name": name} for n, name in enumerate(layouts.THEIRS)]
    put(source / "all.json", json.dumps({"images": images, "annotations": notes, "categories": categories}))
    box_set().import_from(source, out, {})
    for one in ones:
        wanted = [box.box for box in one.boxes if box.name in OURS]
        for (_, pixels), box in zip(boxes_at(out)[one.name], wanted, strict=True):
            assert np.abs(pixels - box).max() < 0.5


# --- what cannot be used ---


def broken_yolo(root: Path, label: str) -> None:
    layouts.yolo(root, some())
    put(root / "labels/train/shot_01.txt", label)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("3 0.5 0.5 0.2\n", "line 1: 4 numbers"),
        ("3 0.5 0.5 0.2 huge\n", "are not numbers"),
        ("9 0.5 0.5 0.2 0.2\n", "class number 9 is not in data.yaml"),
        ("3 48 36 20 20\n", "outside of its 96 x 72 pixels"),
        ("-1 0.5 0.5 0.2 0.2\n", "is not a class number"),
    ],
)
def test_a_bad_label_is_named_and_nothing_is_imported(label: str, said: str, source: Path, out: Path) -> None:
    broken_yolo(source, label)
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert "labels/train/shot_01.txt" in caught.value.found or "images/train/shot_01.jpg" in caught.value.found
    assert said in caught.value.found
    assert "nothing was imported" in caught.value.mend
    assert not out.exists()


def test_all_problems_are_told_at_once_the_first_twenty_by_name(source: Path, out: Path) -> None:
    ones = some(24, 8)
    layouts.yolo(source, ones)
    for one in ones[:23]:
        put(source / "images" / one.split / f"{one.name}.jpg", one.body[:-100])
    put(source / "labels" / "train" / "lonely.txt", "")
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert "24 problems" in caught.value.found
    assert "labels/train/lonely.txt: a label without its picture" in caught.value.found
    assert "truncated" in caught.value.found
    assert "and 4 more" in caught.value.found


def test_boxes_a_little_over_the_edge_are_cut_and_outlines_become_boxes(source: Path, out: Path) -> None:
    broken_yolo(source, "3 0.02 0.5 0.1 0.2\n3 0.2 0.2 0.4 0.2 0.4 0.5 0.3 0.6\n3 0.5 0.5 0 0.3\n")
    notes = "\n".join(box_set().import_from(source, out, {}).notes)
    assert "1 boxes cut off at the picture's edge" in notes
    assert "1 outlines became the boxes around them" in notes
    assert "1 boxes without width or height left out" in notes
    first, second = (pixels for _, pixels in boxes_at(out)["shot_01"])
    assert np.allclose(first / (WIDTH, HEIGHT, WIDTH, HEIGHT), (0, 0.4, 0.07, 0.6), atol=1e-4)
    assert np.allclose(second / (WIDTH, HEIGHT, WIDTH, HEIGHT), (0.2, 0.2, 0.4, 0.6), atol=1e-4)


def spoil_coco(root: Path, **change: object) -> None:
    layouts.coco(root, some())
    path = root / "annotations" / "instances_train2017.json"
    body = json.loads(path.read_text())
    for key, value in change.items():
        body[key][0 if key == "images" else 1].update(value)
    path.write_text(json.dumps(body))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": {"file_name": "gone.jpg"}}, "gone.jpg"),
        ({"images": {"file_name": "../../../../etc/passwd"}}, "passwd"),
        ({"images": {"width": 640, "height": 480}}, "its label is for 640 x 480 pixels, it has 96 x 72"),
        ({"annotations": {"image_id": 999}}, "there is no image 999"),
        ({"annotations": {"bbox": [1, 2, "x"]}}, "its bbox or category_id is none"),
        ({"annotations": {"category_id": 3}}, "its bbox or category_id is none"),
        ({"annotations": {"bbox": [90, 60, 400, 300]}}, "outside of its 96 x 72 pixels"),
    ],
)
def test_coco_that_does_not_fit_its_pictures_is_named(change, said: str, source: Path, out: Path) -> None:
    spoil_coco(source, **change)
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert said in caught.value.found


def test_voc_that_is_damaged_or_hostile_is_named(source: Path, out: Path) -> None:
    layouts.voc(source, some())
    put(source / "Annotations/shot_02.xml", "<annotation><object>")
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa">]><annotation><filename>&a;</filename></annotation>'
    put(source / "Annotations/shot_03.xml", bomb)
    put(source / "Annotations/shot_99.xml", "<annotation><filename>shot_99.jpg</filename></annotation>")
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    for said in ("shot_02.xml: damaged xml", "shot_03.xml: damaged xml", "shot_99.xml: its picture 'shot_99.jpg'"):
        assert said in caught.value.found


def test_a_table_that_names_what_is_not_there_is_told_by_line(source: Path, out: Path) -> None:
    layouts.class_table(source, some(16, 8))
    text = (source / "list.csv").read_text().replace("shot_03.jpg", "shot_77.jpg")
    (source / "list.csv").write_text(text + "\nshot_01.jpg,DISC,train,ann,99")
    with pytest.raises(DataError) as caught:
        class_set().import_from(source, out, {})
    assert "there is no picture 'shot_77.jpg'" in caught.value.found
    assert "shot_01.jpg is 'DISC' here" in caught.value.found


@pytest.mark.parametrize("kind", [class_set, box_set])
def test_nothing_there_one_picture_and_unknown_labels_say_so(kind, source: Path, out: Path) -> None:
    with pytest.raises(DataError, match="there is no picture in"):
        kind().import_from(source, out, {})
    with pytest.raises(DataError, match="is not there"):
        kind().import_from(source / "gone", out, {})
    put(source / "train" / "disc" / "one.jpg", some()[1].body)
    put(source / "train" / "disc" / "one.txt", "0 0.5 0.5 0.1 0.1")
    put(source / "classes.txt", "disc\n")
    with pytest.raises(DataError, match="there is one labelled picture"):
        kind().import_from(source, out, {})
    assert not out.exists()


def test_boxes_in_no_known_format_are_told_with_those_that_are(source: Path, out: Path) -> None:
    put(source / "a.jpg", some()[0].body)
    put(source / "a.json", '{"shapes": []}')
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert "COCO" in caught.value.expected


def test_equal_names_in_several_folders_get_names_of_their_own(source: Path, out: Path) -> None:
    for n in range(6):
        for split in ("train", "val"):
            body, _ = scene(np.random.default_rng([n, len(split)]), (CLASSES[n % 3],))
            put(source / split / CLASSES[n % 3] / f"{n // 3}.jpg", body)
    class_set().import_from(source, out, {})
    ids = [case.id for case in class_set().cases(out)]
    assert len(set(ids)) == 12
    assert "train-disc-0" in ids


def test_label_text_of_boxes_refuses_a_class_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="hat"):
        text_of([TrueBox("hat", (0, 0, 1, 1))], CLASSES, WIDTH, HEIGHT)
