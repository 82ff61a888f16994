"""Pascal VOC: one XML file for each picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import DataError
from tests.registry.vision import layouts
from tests.registry.vision.layouts import put, some
from tests.registry.vision.made import box_set


def test_voc_that_is_damaged_or_hostile_is_named(source: Path, out: Path) -> None:
    layouts.voc(source, some())
    put(source / "Annotations/shot_02.xml", "<annotation><object>")
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa">]><annotation><filename>&a;</filename></annotation>'
    put(source / "Annotations/shot_03.xml", bomb)
    put(source / "Annotations/shot_99.xml", "<annotation><filename>shot_99.jpg</filename></annotation>")
    with pytest.raises(DataError) as caught:
        box_set().import_from(source, out, {})
    for said in (
        "shot_02.xml: damaged xml",
        "shot_03.xml: its DOCTYPE defines entities",
        "shot_99.xml: its picture 'shot_99.jpg'",
    ):
        assert said in caught.value.found
