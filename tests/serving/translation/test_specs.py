"""The models that come with visionloop speak French; others stay as they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from django.utils import translation

from registry.contract import catalog
from serving.translation import specs

SAME = {"bus", "drone", "frisbee", "grenade", "kiwi", "orange", "pizza", "sandwich", "skateboard", "skis", "snowboard"}
SAME |= {"train", "vase"}
"""Classes that have one name in both languages."""
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


@pytest.mark.parametrize("name", catalog.names())
def test_classes_are_french(project: Path, name: str) -> None:
    with translation.override("fr"):
        shown = {one: specs.class_name(one) for one in catalog.get(name).classes}
    assert {one for one, french in shown.items() if french == one.replace("_", " ")} <= SAME


def test_a_class_is_named_in_the_language_of_each_reader(project: Path) -> None:
    for language, shown in (("fr", "chien"), ("en", "dog"), ("fr", "chien")):
        with translation.override(language):
            assert specs.class_name("dog") == shown


def test_a_class_of_somebody_is_only_spaced(project: Path) -> None:
    with translation.override("fr"):
        assert specs.class_name("my_own_thing") == "my own thing"


def test_a_model_of_somebody_stays_as_it_is_written(project: Path) -> None:
    own = replace(catalog.get("face_gender"), name="history", title="History", caution="")
    with translation.override("fr"):  # where the pages have a text "History"
        shown = specs.translated(own)
    assert (shown.title, shown.caution) == ("History", "")
