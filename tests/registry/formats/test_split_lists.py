"""Splits that files say: lists of pictures or names, folders in a data.yaml, darknet's and CVAT's `obj.data`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from registry.cases.records import ImportResult
from registry.core.errors import DataError
from tests.registry import layouts
from tests.registry.layouts import THEIRS, One, put, some
from tests.registry.made import box_set

SPLIT_BY_DIGIT = {0: "val", 1: "test", 2: "train", 3: "val", 4: "train", 5: "test"}
"""By the last digit of a picture's number modulo 6: nothing that a folder's name or the order would give."""


def of(one: One) -> str:
    return SPLIT_BY_DIGIT[int(one.name[-2:]) % 6]


def flat(root: Path, pictures: str = "images", labels: str = "labels") -> list[One]:
    """Pictures and labels without folders of splits."""
    ones = some()
    for one in ones:
        put(root / pictures / f"{one.name}.jpg", one.body)
        text = layouts.text_of(one.boxes, THEIRS, layouts.WIDTH, layouts.HEIGHT)
        put(root / labels / f"{one.name}.txt", text)
    return ones


def lists(root: Path, ones: list[One], line: str, names: dict[str, str] | None = None) -> None:
    for split in ("train", "val", "test"):
        lines = [line.format(name=one.name) for one in ones if of(one) == split]
        put(root / (names or {}).get(split, f"{split}.txt"), "\n".join(lines) + "\n")


def configuration(root: Path, **more: object) -> None:
    put(root / "data.yaml", yaml.safe_dump({"names": list(THEIRS), **more}))


def splits_match(taken: ImportResult, ones: list[One], out: Path) -> bool:
    found = {case.id: case.split for case in box_set().cases(out)}
    assert taken.unlabelled == 0
    return found == {one.name: of(one) for one in ones}


LINES = [
    "./images/{name}.jpg", "images/{name}.jpg", "images\\{name}.jpg", "{name}.jpg", "{name}",
    "/content/drive/MyDrive/set/images/{name}.jpg", "C:\\Users\\me\\set\\images\\{name}.jpg", "../images/{name}.jpg",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("place", ["{split}.txt", "lists/{split}.txt", "a/b/{split}_list.txt"])
def test_lists_that_data_yaml_names_are_the_split(line: str, place: str, source: Path, out: Path) -> None:
    ones = flat(source)
    places = {split: place.format(split=split) for split in ("train", "val", "test")}
    lists(source, ones, line, places)
    configuration(source, path="../datasets/set", **places)
    assert splits_match(box_set().import_from(source, out, {}), ones, out)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".", "{split}.txt"),
        ("/data/somewhere/theirs", "{split}.txt"),
        ("", "/data/somewhere/theirs/{split}.txt"),
        ("lists", "{split}.txt"),
        ("", ["{split}.txt"]),
        ("", "lists\\{split}.txt"),
        ("~", "./lists/../{split}.txt"),
    ],
)
def test_a_path_in_data_yaml_is_relative_to_whatever_it_was_there(path: str, value, source: Path, out: Path) -> None:
    ones = flat(source)
    for folder in (source, source / "lists"):
        lists(folder, ones, "{name}.jpg")
    parts = {split: [one.format(split=split) for one in value] if isinstance(value, list) else value.format(split=split)
            for split in ("train", "val", "test")}  # fmt: skip
    configuration(source, path=path, **parts)
    assert splits_match(box_set().import_from(source, out, {}), ones, out)


def darknet(root: Path, ones: list[One], valid: str) -> None:
    put(root / "obj.names", "\n".join(THEIRS))
    put(
        root / "obj.data",
        f"classes = 4\ntrain = data/train.txt\n{valid} = data/{valid}.txt\ntest = data/test.txt\n"
        "names = data/obj.names\nbackup = backup/\n",
    )
    lists(root, ones, "data/obj_train_data/{name}.jpg", {"val": f"{valid}.txt"})


@pytest.mark.parametrize("valid", ["valid", "val"])
def test_darknets_and_cvats_obj_data(valid: str, source: Path, out: Path) -> None:
    ones = flat(source, "obj_train_data", "obj_train_data")
    darknet(source, ones, valid)
    assert splits_match(box_set().import_from(source, out, {}), ones, out)


def test_cvats_folders_say_nothing_against_its_lists(source: Path, out: Path) -> None:
    ones = flat(source, "obj_Train_data", "obj_Train_data")
    darknet(source / "train", ones, "valid")
    shutil.move(source / "obj_Train_data", source / "train" / "obj_Train_data")
    assert splits_match(box_set().import_from(source, out, {}), ones, out)


@pytest.mark.parametrize(
    "place", ["{split}.txt", "ImageSets/{split}.txt", "ImageSets/Main/{split}.txt", "x/{split}.txt"]
)
@pytest.mark.parametrize("names", ["data.yaml", "classes.txt"])
def test_lists_that_nothing_names_count_as_well(place: str, names: str, source: Path, out: Path) -> None:
    ones = flat(source)
    lists(source, ones, "{name}", {split: place.format(split=split) for split in ("train", "val", "test")})
    put(source / names, yaml.safe_dump({"names": list(THEIRS)}) if names == "data.yaml" else "\n".join(THEIRS))
    assert splits_match(box_set().import_from(source, out, {}), ones, out)


@pytest.mark.parametrize("layout", ["yolo", "darknet"])
def test_lists_of_numbers_are_no_labels(layout: str, source: Path, out: Path) -> None:
    ones = [One(f"{n:06d}", one.split, one.body, one.boxes) for n, one in enumerate(some())]
    layouts.BOXES[layout](source, ones)
    for split in ("train", "val", "test"):
        put(source / "ImageSets" / f"{split}.txt", "\n".join(one.name for one in ones if one.split == split))
    put(source / "ids.txt", "000001\n000002\n")
    taken = box_set().import_from(source, out, {})
    assert (taken.train, taken.val, taken.test) == (8, 4, 4)


def test_what_the_lists_do_not_say_is_noted(source: Path, out: Path) -> None:
    ones = flat(source)
    lists(source, ones[:-1], "{name}.jpg")
    text = (source / "train.txt").read_text()
    put(source / "train.txt", text + "gone.jpg\nshot_00.jpg\n")  # shot_00 is in val.txt, too
    configuration(source, train="train.txt", val="val.txt", test="test.txt")
    taken = box_set().import_from(source, out, {})
    notes = "\n".join(taken.notes)
    assert "train.txt: 1 of its 7 pictures do not exist: gone.jpg" in notes
    assert "val.txt: 1 of its pictures are also in another list; they are not trained on" in notes
    assert "1 pictures left out: no list names them" in notes
    found = {case.id: case.split for case in box_set().cases(out)}
    assert found == {one.name: of(one) for one in ones[:-1]}


def test_lists_of_pictures_that_are_not_there_stop(source: Path, out: Path) -> None:
    flat(source)
    for split in ("train", "val"):
        put(source / f"{split}.txt", "other/a.jpg\n")
    configuration(source, train="train.txt", val="val.txt")
    with pytest.raises(DataError, match=r"train\.txt, val\.txt: none of the listed pictures exists"):
        box_set().import_from(source, out, {})


def test_folders_of_data_yaml_go_before_the_names_of_folders(source: Path, out: Path) -> None:
    ones = some()
    for one in ones:
        put(source / of(one)[::-1] / "images" / f"{one.name}.jpg", one.body)
        text = layouts.text_of(one.boxes, THEIRS, layouts.WIDTH, layouts.HEIGHT)
        put(source / of(one)[::-1] / "labels" / f"{one.name}.txt", text)
    configuration(source, train="../niart/images", val=["/kaggle/input/set/lav"], test="tset")
    assert splits_match(box_set().import_from(source, out, {}), ones, out)


def test_one_folder_for_two_splits_says_none(source: Path, out: Path) -> None:
    flat(source)
    configuration(source, train="images", val="images")
    taken = box_set().import_from(source, out, {})
    assert min(taken.train, taken.val, taken.test) > 0
    assert any("images for several splits: ignored" in note for note in taken.notes)


def test_a_missing_part_is_noted_and_takes_no_other_folder(source: Path, out: Path) -> None:
    ones = flat(source)
    configuration(source, train="images", val="../valid/images", test="")
    taken = box_set().import_from(source, out, {})
    assert taken.train + taken.val + taken.test == len(ones)
    assert any("its val part ../valid/images does not exist" in note for note in taken.notes)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("names: [[a, b], c]", "`names` is not a list of names"),
        ("names: disc", "`names` is not a list of names"),
        ("names: {a: disc}", "`names` is not a list of names"),
        ("names: []", "`names` is not a list of names"),
        ("names: [disc\ntrain: x", "is not YAML"),
        ("nc: 2\ntrain: images", "has no `names`"),
        ("[" * 5000, "is not YAML"),
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 10)}]" for n in range(9)) + "\nnames: *j",
         "`names` is not a list of names"),
    ],
)  # fmt: skip
def test_a_data_yaml_that_does_not_name_classes_is_noted(body: str, message: str, source: Path, out: Path) -> None:
    flat(source)
    put(source / "data.yaml", body)
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    assert (
        f"data.yaml{':' if 'names' in message and 'not' in message else ''} {message}".replace("  ", " ")
        in caught.value.found
    )


def test_names_stay_text_and_may_lie_in_a_file_of_their_own(source: Path, out: Path) -> None:
    """In YAML 1.1 `no` is false and `012` is ten."""
    flat(source)
    configuration(source)
    put(source / "data.yaml", "names: [no, 012, Square, DISC]")
    notes = box_set().import_from(source, out / "a", {"map": {"no": "yellow_vest"}}).notes
    assert any("012 (" in note for note in notes)
    assert not any("no (" in note or "False" in note for note in notes)
    put(source / "lists" / "my.names", "\n".join(THEIRS))
    put(source / "data.yaml", "names: lists/my.names")
    assert box_set().import_from(source, out / "b", {}).train > 0


def test_two_data_yamls_that_number_classes_differently_stop(source: Path, out: Path) -> None:
    layouts.yolo(source / "a", some())
    layouts.yolo(source / "b", some(seed=2))
    put(source / "b" / "data.yaml", "names: [DISC, hat, Square, Yellow Vest]")
    with pytest.raises(DataError, match=r"a/data\.yaml, b/data\.yaml number the classes differently"):
        box_set().import_from(source, out, {})


def test_a_blank_line_in_a_list_of_names_keeps_its_number(source: Path, out: Path) -> None:
    ones = flat(source)
    put(source / "classes.txt", "Yellow Vest\n\nSquare\nDISC\n\n\n")
    with pytest.raises(DataError, match=r"class number 1 is not in classes\.txt"):
        box_set().import_from(source, out, {})
    for path in source.rglob("labels/*.txt"):
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("1 ")))
    taken = box_set().import_from(source, out, {})
    assert taken.train + taken.val + taken.test == len(ones)
