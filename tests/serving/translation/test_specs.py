"""The models that come with visionloop speak French; others stay as they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from django.utils import translation

from registry.contract import catalog
from serving.translation import specs

NAMES_OF_THE_FIELD = {"Dice", "mAP50", "mAP50-95"}


@pytest.mark.parametrize("name", catalog.names())
def test_a_model_is_french(project: Path, name: str) -> None:
    english = catalog.get(name)
    with translation.override("fr"):
        french = specs.get(name)
    assert french.title != english.title
    assert french.caution != english.caution
    assert french.metric.title != english.metric.title or english.metric.title in NAMES_OF_THE_FIELD
    assert replace(french, title=english.title, caution=english.caution, metric=english.metric) == english


def test_a_model_of_somebody_stays_as_it_is_written(project: Path) -> None:
    own = replace(catalog.get("face_gender"), name="history", title="History", caution="")
    with translation.override("fr"):  # where the pages have a text "History"
        shown = specs.translated(own)
    assert (shown.title, shown.caution) == ("History", "")
