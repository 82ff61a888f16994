"""A csv of paths and labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import DataError
from tests.registry.vision import layouts
from tests.registry.vision.layouts import some
from tests.registry.vision.made import class_set


def test_columns_of_a_table_become_attributes_if_they_have_few_values(source: Path, out: Path) -> None:
    layouts.class_table(source, some(20, 8))
    taken = class_set().import_from(source, out, {})
    assert {tuple(case.attributes) for case in class_set().cases(out)} == {("who",)}
    assert any("number" in note for note in taken.notes)


def test_a_table_that_names_what_is_not_there_is_told_by_line(source: Path, out: Path) -> None:
    layouts.class_table(source, some(16, 8))
    text = (source / "list.csv").read_text().replace("shot_03.jpg", "shot_77.jpg")
    (source / "list.csv").write_text(text + "\nshot_01.jpg,DISC,train,ann,99")
    with pytest.raises(DataError) as caught:
        class_set().import_from(source, out, {})
    assert "there is no picture 'shot_77.jpg'" in caught.value.found
    assert "shot_01.jpg is 'DISC' here" in caught.value.found
