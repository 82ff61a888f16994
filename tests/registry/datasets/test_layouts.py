"""Data sets of pictures on disk: reproducible, added to without leaks, and plain about damage."""

from __future__ import annotations

import io
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from registry.cases import mask_labels, picture_facts, yolo_labels
from registry.cases.records import LabelledInput
from registry.cases.splits import SPLITS, Shares
from registry.core.errors import DataError
from registry.core.settings import settings
from registry.datasets import picture_set
from registry.datasets.picture_set import PictureSet
from registry.vision import look_alikes, picture
from tests.registry.made import CLASSES, HEIGHT, WIDTH, box_set, class_set, contents, mask_set, scene, some_boxes

KINDS = {"classes": class_set, "boxes": box_set, "masks": mask_set}
MASK = mask_labels.encode(np.ones((40, 50), np.uint8), len(CLASSES))
LABELS = {"classes": "disc", "boxes": b"0 0.5 0.5 0.2 0.2\n", "masks": MASK}
SMALL = {"seed": 3, "train": 6, "val": 4, "test": 4}
HALF = Shares(0.25, 0.25)


@pytest.fixture(autouse=True)
def own_var(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VISIONLOOP_VAR", str(tmp_path_factory.mktemp("var")))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> PictureSet:
    return KINDS[request.param]()


@pytest.fixture
def root(kind: PictureSet, tmp_path: Path) -> Path:
    kind.synthesise(tmp_path / "set", SMALL)
    return tmp_path / "set"


def again(body: bytes, quality: int = 70, brighter: int = 6) -> bytes:
    """The same picture, re-encoded and a little brighter."""
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    lighter = cv2.convertScaleAbs(pixels, alpha=1.0, beta=brighter)
    return cv2.imencode(".jpg", lighter, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def test_the_same_seed_gives_the_same_files_and_another_does_not(kind: PictureSet, root: Path, tmp_path: Path) -> None:
    kind.synthesise(tmp_path / "again", SMALL)
    kind.synthesise(tmp_path / "other", {**SMALL, "seed": 4})
    assert contents(tmp_path / "again") == contents(root)
    pictures = [{h for name, h in contents(tmp_path / at).items() if name.endswith(".jpg")} for at in ("set", "other")]
    assert len(pictures[0]) == 14
    assert not pictures[0] & pictures[1]


def test_more_cases_of_a_seed_begin_with_the_same_ones(kind: PictureSet, root: Path, tmp_path: Path) -> None:
    kind.synthesise(tmp_path / "more", {**SMALL, "train": 9})
    more = contents(tmp_path / "more")
    assert all(more[name] == digest for name, digest in contents(root).items() if name.endswith((".jpg", ".txt")))


def test_many_are_drawn_by_several_processes_and_are_the_same(
    kind: PictureSet, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_set, "PARALLEL_FROM", 10)
    monkeypatch.setattr(picture_set, "default_threads", lambda: 2)
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    kind.synthesise(tmp_path / "many", SMALL)
    assert contents(tmp_path / "many") == contents(root)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > began  # others did the work


def test_a_stream_is_in_no_split(kind: PictureSet, root: Path) -> None:
    stream = kind.synthesise_stream(8, seed=3)
    assert stream == kind.synthesise_stream(8, seed=3)
    assert not {item.input for item in stream} & {case.input.read_bytes() for case in kind.cases(root)}


def test_cases_of_a_class_set_carry_class_and_attributes(tmp_path: Path) -> None:
    kind = class_set()
    kind.synthesise(tmp_path, SMALL)
    first = next(case for case in kind.cases(tmp_path) if case.split == "train")
    assert (first.id, first.split, first.origin, first.truth) == ("train-0000", "train", "starter", "disc")
    assert first.input == tmp_path / "train/disc/train-0000.jpg"
    assert first.attributes == {"light": "night"}
    assert {case.truth for case in kind.cases(tmp_path)} == set(CLASSES)


def test_cases_of_a_box_set_point_at_label_text_that_gives_the_boxes_back(tmp_path: Path) -> None:
    kind = box_set()
    kind.synthesise(tmp_path, SMALL)
    made = [some_boxes(np.random.default_rng([3, 0, n]), n) for n in range(6)]
    cases = [case for case in kind.cases(tmp_path) if case.split == "train"]
    for one, case in zip(made, cases, strict=True):
        lines, problems = yolo_labels.parse(Path(case.truth).read_text())
        assert not problems
        assert [CLASSES[line.number] for line in lines] == [box.name for box in one.truth]
        for line, box in zip(lines, one.truth, strict=True):
            assert np.allclose(np.multiply(line.box, (WIDTH, HEIGHT) * 2), box.box, atol=0.01)
    assert Path(cases[0].truth).read_text() == ""  # nothing in it
    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["names"] == dict(enumerate(CLASSES))


def test_adding_is_idempotent_by_id_and_by_content(kind: PictureSet, root: Path) -> None:
    items = kind.synthesise_stream(12, seed=6)
    assert kind.add(root, items, "drift", HALF).new == 12
    before = contents(root)
    assert kind.add(root, items, "drift", HALF).new == 0
    renamed = LabelledInput("another-name", items[0].input, items[0].truth)
    png = io.BytesIO()
    Image.open(io.BytesIO(items[1].input)).save(png, "PNG")
    stored_anew = LabelledInput("as-png", png.getvalue(), items[1].truth)
    assert kind.add(root, [renamed, stored_anew], "drift", HALF).new == 0
    assert contents(root) == before
    added = [case for case in kind.cases(root) if case.origin == "drift"]
    assert {case.input.read_bytes() for case in added} == {item.input for item in items}
    assert {case.split for case in added} == set(SPLITS)


def test_pictures_are_added_one_by_one_and_those_that_are_there_are_not_decoded_again(
    kind: PictureSet, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 photographs of 12 megapixels were 36 GB decoded."""
    mask = mask_labels.encode(np.ones((1500, 2000), np.uint8), len(CLASSES))
    label, items = {**LABELS, "masks": mask}[kind.labels], []
    for n in range(8):
        noise = np.random.default_rng(n).integers(0, 256, (15, 20, 3), dtype=np.uint8)
        path = tmp_path / f"photo-{n}.jpg"
        cv2.imwrite(str(path), cv2.resize(noise, (2000, 1500), interpolation=cv2.INTER_NEAREST))
        items.append(LabelledInput(path.stem, path.read_bytes, label))
    kind.inspect(root)
    tracemalloc.start()
    assert kind.add(root, items, "drift", HALF).new == 8
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6, "8 of them are 72 MB"
    decoded: list[bytes] = []
    decode = picture.decode
    monkeypatch.setattr(
        picture_facts.picture, "decode", lambda body, limit: decoded.append(body) or decode(body, limit)
    )
    assert kind.add(root, [*items, *kind.synthesise_stream(2, seed=6)], "drift", HALF).new == 2
    assert len(decoded) == 2


def test_nearly_the_same_picture_joins_the_split_that_it_would_leak_from(kind: PictureSet, root: Path) -> None:
    known = kind.cases(root)
    labels = {case.id: case.truth if isinstance(case.truth, str) else case.truth.read_bytes() for case in known}
    items = [LabelledInput(f"again-{case.id}", again(case.input.read_bytes()), labels[case.id]) for case in known]
    assert kind.add(root, items, "drift", HALF).new == len(known)
    split = {case.id: case.split for case in kind.cases(root)}
    assert all(split[f"again-{case.id}"] == case.split for case in known)
    table = kind.inspect(root)
    same = (table["likeness"] >= look_alikes.MIN_CORRELATION) & ~table["case"].str.startswith("again-")
    assert not same.any()


def test_a_picture_that_resembles_both_splits_is_not_added(kind: PictureSet, root: Path) -> None:
    case = kind.cases(root)[0]
    other = "val" if case.split == "train" else "train"
    twin = Path(str(case.input).replace(f"/{case.split}/", f"/{other}/")).with_name("twin.jpg")
    twin.parent.mkdir(parents=True, exist_ok=True)
    twin.write_bytes(again(case.input.read_bytes(), brighter=3))
    row = f"twin,{other},x,{twin.relative_to(root).as_posix()}" + ("" if kind.labels == "boxes" else ",day")
    (root / "cases.csv").write_text((root / "cases.csv").read_text() + row + "\n")
    label = case.truth if isinstance(case.truth, str) else case.truth.read_bytes()
    third = LabelledInput("third", again(case.input.read_bytes(), brighter=10), label)
    assert kind.add(root, [third], "drift", HALF).new == 0


def test_bytes_are_kept_and_named_for_what_they_are(kind: PictureSet, root: Path) -> None:
    png = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(png, "PNG")
    item = LabelledInput("photo (1).jpeg", png.getvalue(), LABELS[kind.labels])
    assert kind.add(root, [item], "drift", Shares(0, 0)).new == 1
    case = next(case for case in kind.cases(root) if case.origin == "drift")
    assert case.input.name == "photo-1-.jpeg.png"
    assert case.input.read_bytes() == png.getvalue()


@pytest.mark.parametrize(
    ("make", "label", "said"),
    [
        (class_set, "hat", "'hat'"),
        (class_set, b"", "''"),
        (box_set, b"7 0.5 0.5 0.1 0.1", "class number 7"),
        (box_set, b"0 0.5 0.5 0.1", "4 numbers"),
        (box_set, b"0 0.9 0.5 0.5 0.1", "over the picture's edge"),
        (box_set, b"0 0.5 0.5 0 0.1", "without width"),
        (box_set, b"0 nan 0.5 0.1 0.1", "finite"),
        (box_set, b"{}", "not numbers"),
        (box_set, b"\xff\xfe", "not numbers"),
        (mask_set, b"0 0.5 0.5 0.1 0.1", "not a picture"),
        (mask_set, MASK, "50 x 40 pixels"),
        (mask_set, mask_labels.encode(np.full((HEIGHT, WIDTH), 4, np.uint8), 4), "the value 4"),
    ],
)
def test_a_label_that_is_none_is_refused_and_keeps_nothing_else_back(make, label, said: str, tmp_path: Path) -> None:
    kind = make()
    kind.synthesise(tmp_path, SMALL)
    before = contents(tmp_path)
    good, bad = kind.synthesise_stream(2, 9)
    added = kind.add(tmp_path, [LabelledInput("bad", bad.input, label)], "drift", HALF)
    assert added.new == 0
    assert said in added.refused[0]
    assert contents(tmp_path) == before
    assert kind.add(tmp_path, [good, LabelledInput("bad", bad.input, label)], "drift", HALF).new == 1


def test_a_class_is_known_in_any_case_and_between_blanks(tmp_path: Path) -> None:
    kind = class_set()
    kind.synthesise(tmp_path, SMALL)
    item = kind.synthesise_stream(1, 9)[0]
    kind.add(tmp_path, [LabelledInput("loud", item.input, b" DISC\n")], "drift", Shares(0, 0))
    assert next(case for case in kind.cases(tmp_path) if case.id == "loud").truth == "disc"


def test_what_is_no_picture_is_refused(kind: PictureSet, root: Path) -> None:
    label = LABELS[kind.labels]
    for body in (b"", b"nonsense", scene(np.random.default_rng(0), ())[0][:-200]):
        added = kind.add(root, [LabelledInput("bad", body, label)], "drift", HALF)
        assert added.new == 0
        assert added.refused[0].startswith("bad: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "columns"),
        ("case,split,file\n", "columns"),
        ("case,split,origin,file\na,training,x,train/disc/a.jpg\n", "'training'"),
        ("case,split,origin,file\na,train,x\n", "cells"),
        ("case,split,origin,file\na,train,x,../../etc/passwd\n", "passwd"),
        ("case,split,origin,file\na,train,x,/etc/x/passwd\n", "passwd"),
        ("case,split,origin,file\n,train,x,train/disc/a.jpg\n", "no case"),
        ('case,split,origin,file\n"a,train\n', "cannot be read"),
        (b"case,split,origin,file\n\xff\xfe", "cannot be read"),
    ],
)
def test_a_damaged_table_is_told_with_what_fixes_it(kind: PictureSet, root: Path, text, said: str) -> None:
    (root / "cases.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=said) as caught:
        kind.cases(root)
    assert f"visionloop data synth {kind.model}" in caught.value.fix


def test_a_folder_without_a_table_is_no_data_set(kind: PictureSet, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        kind.cases(tmp_path)


def test_numbers_that_mean_other_classes_are_refused(tmp_path: Path) -> None:
    kind = box_set()
    kind.synthesise(tmp_path, SMALL)
    text = (tmp_path / "data.yaml").read_text()
    (tmp_path / "data.yaml").write_text(text.replace("disc", "plate"))
    with pytest.raises(DataError, match="plate"):
        kind.cases(tmp_path)
    (tmp_path / "data.yaml").write_text("names: 3")
    with pytest.raises(DataError, match="cannot be read"):
        kind.cases(tmp_path)


def test_masks_of_other_classes_are_refused_and_a_mask_that_is_moved_goes_with_its_picture(tmp_path: Path) -> None:
    kind = mask_set()
    kind.synthesise(tmp_path, SMALL)
    with pytest.raises(DataError, match="numbers other classes"):
        mask_set(("disc", "yellow_vest", "square")).cases(tmp_path)
    before = {case.id: Path(case.truth).read_bytes() for case in kind.cases(tmp_path)}
    kind.move(tmp_path, ["train-0001"], "test")
    after = {case.id: case for case in kind.cases(tmp_path)}
    assert after["train-0001"].split == "test"
    assert {name: Path(case.truth).read_bytes() for name, case in after.items()} == before
    assert kind.inspect(tmp_path)["row"].notna().all()


def test_open_classes_come_from_the_data(tmp_path: Path) -> None:
    kind = class_set(open_classes=True)
    kind.synthesise(tmp_path, SMALL)
    assert kind.classes(tmp_path) == CLASSES
    (tmp_path / "classes.txt").unlink()
    assert kind.classes(tmp_path) == tuple(sorted(CLASSES))
    (tmp_path / "classes.txt").write_text("a\na\n")
    with pytest.raises(DataError, match="twice"):
        kind.classes(tmp_path)


def test_upright_size_swaps_the_sides_of_a_picture_that_lies(tmp_path: Path) -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(out, "JPEG", exif=exif)
    assert picture_set.upright_size(out.getvalue()) == (20, 40)
