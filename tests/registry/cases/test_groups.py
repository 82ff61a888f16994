"""Cases of one patient, camera or sequence stay in one part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from registry.cases import groups
from registry.cases.splits import SPLITS, Shares
from registry.core.errors import DataError
from registry.models.skin_segmentation.data import SkinData
from tests.registry.layouts import put
from tests.registry.made import CLASSES, class_set, scene

NAMES = {f"{who}-{n}": f"scans/{who}_{n:02d}.png" for who in ("anna", "ben", "cleo", "dora") for n in range(3)}


def test_the_parentheses_of_a_pattern_hold_the_group() -> None:
    found, notes = groups.named({**NAMES, "odd": "scans/1.png"}, "^([a-z]+)_")
    assert found == {case: case.partition("-")[0] for case in NAMES}
    assert notes[0].startswith("4 groups")
    assert "1 names do not match" in notes[1]
    assert groups.named({"a": "cam1/x.png", "b": "cam2/x.png"}, "cam[0-9]+/")[0] == {"a": "cam1/", "b": "cam2/"}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("^([0-9]+)_", "matches none of 12 names: anna_00.png, anna_01.png"),
        ("(png)$", "puts all 12 cases into one group, 'png'"),
        ("([a-z", "is not a regular expression"),
    ],
)
def test_a_pattern_that_groups_nothing_is_told_with_the_names(pattern: str, said: str) -> None:
    with pytest.raises(DataError, match=r"--group-pattern") as caught:
        groups.named(NAMES, pattern)
    assert said in str(caught.value)


def test_groups_of_very_different_size_still_leave_something_in_each_part() -> None:
    weights = {"huge": 900, "a": 5, "b": 60, "c": 30, "d": 40}
    found = Shares(0.15, 0.2).deal(dict.fromkeys(weights, ""), weights)
    assert set(found.values()) == set(SPLITS)
    assert found["huge"] == "train"


def people(source: Path, count: int = 9) -> None:
    for n in range(count * 4):
        body, _ = scene(np.random.default_rng([11, n]), (CLASSES[n % 3],))
        put(source / CLASSES[n % 3] / f"p{n % count}_{n:03d}.jpg", body)


def sides(cases: list, group: object) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for case in cases:
        found.setdefault(group(case), set()).add(case.split)  # type: ignore[operator]
    return found


def test_pictures_of_one_person_go_to_one_part_and_one_that_is_moved_is_a_breach(tmp_path: Path) -> None:
    people(tmp_path / "source")
    kind, root = class_set(), tmp_path / "set"
    taken = kind.import_from(tmp_path / "source", root, {"group_pattern": "^(p[0-9]+)_"})
    cases = kind.cases(root)
    found = sides(cases, lambda case: case.group)
    assert len(found) == 9
    assert all(len(splits) == 1 for splits in found.values())
    assert {case.split for case in cases} == set(SPLITS)
    assert any("9 groups" in note for note in taken.notes)
    assert kind.inspect(root)["group_parts"].max() == 1
    kind.move(root, [next(case.id for case in cases if case.split == "train")], "test")
    assert sorted(kind.inspect(root)["group_parts"].unique()) == [1, 2]
    again = kind.import_from(root, tmp_path / "again", {})
    assert again.train + again.val + again.test == len(cases)
    assert {case.id: case.group for case in kind.cases(tmp_path / "again")} == {case.id: case.group for case in cases}


def test_a_table_s_column_of_patients_is_the_group_however_many_there_are(tmp_path: Path) -> None:
    lines = ["path,label,patient_id,ward"]
    for n in range(42):
        put(tmp_path / "source" / f"{n}.jpg", scene(np.random.default_rng([12, n]), (CLASSES[n % 3],))[0])
        lines.append(f"{n}.jpg,{CLASSES[n % 3]},p{n % 14},{'ab'[n % 2]}")
    put(tmp_path / "source" / "list.csv", "\n".join(lines))
    kind = class_set()
    taken = kind.import_from(tmp_path / "source", tmp_path / "set", {})
    cases = kind.cases(tmp_path / "set")
    found = sides(cases, lambda case: case.group)
    assert len(found) == 14
    assert all(len(splits) == 1 for splits in found.values())
    assert {tuple(case.attributes) for case in cases} == {("ward",)}
    assert "14 groups by the column 'patient_id'" in "\n".join(taken.notes)


def test_scans_of_one_patient_go_to_one_part(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for n, item in enumerate(SkinData().synthesise_stream(10, 4)):
        for part, body in (("image", item.input), ("mask", item.truth)):
            assert isinstance(body, bytes)
            put(source / f"pat{n % 5}_{n:02d}" / f"{part}.nii.gz", body)
    taken = SkinData().import_from(source, tmp_path / "set", {"group_pattern": "^(pat[0-9])_"})
    cases = SkinData().cases(tmp_path / "set")
    found = sides(cases, lambda case: case.group)
    assert len(found) == 5
    assert all(len(splits) == 1 for splits in found.values())
    assert (taken.train, taken.val, taken.test) == (6, 2, 2)
    assert SkinData().inspect(tmp_path / "set")["group_parts"].max() == 1
    SkinData().move(tmp_path / "set", [next(case.id for case in cases if case.split == "train")], "test")
    assert SkinData().inspect(tmp_path / "set")["group_parts"].max() == 2
