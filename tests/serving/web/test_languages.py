"""The pages speak English and French: no text is missing, left over, or outside of translation."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import allauth
import pytest
from babel.messages.extract import extract
from babel.messages.mofile import read_mo
from django.utils.translation.template import templatize

from registry.contract import catalog as models
from serving.web.languages import SERVING, catalog, compile_into
from tests.browsers import Visitor

Text = tuple[str | None, str]
"""The context and the English text of a translation."""
ROOMS = sorted(path.name for path in SERVING.iterdir() if (path / "__init__.py").is_file())
KEYWORDS: Any = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop")),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2)),
    "npgettext": ((1, "c"), 2, 3),
}
SAME = {
    "%(count)s classes",
    "API",
    "Actions",
    "Contact",
    "Documents",
    "Message",
    "Messages",
    "Page %(page)s",
    "Pages",
    "Services",
    "Sessions",
    "Shadow",
    "Usage",
    "Version",
    "Zip",
    "Version %(v)s",
    "Version %(version)s",
    "Versions",
    "Volume",
    "Voxels",
    "challenger",
    "champion",
    "score",
    "shadow",
    "verdict",
    "version %(v)s",
    "version %(version)s",
}
"""Texts that are the same in both languages."""
UNITS = {"cm²", "ml", "mm", "ms"}
"""Of templates; those of bytes have other names in French."""
NAMES = {"Ctrl", "MLflow", "Prefect", "Python", "Tab", "UTC", "curl", "p50", "p95", "visionloop"}
NAMES |= {"Website"}  # for programs that send spam


def _texts(room: str) -> Iterator[tuple[Text, str]]:
    """The texts of a room that go through translation, each with its file."""
    for path in sorted((SERVING / room).rglob("*")):
        if path.suffix == ".py":
            found = texts(path.read_text(encoding="utf-8"))
        elif path.suffix in (".html", ".txt") and "templates" in path.parts:
            found = texts(templatize(path.read_text(encoding="utf-8"), origin=str(path)))
        else:
            continue
        for text in found:
            yield text, str(path.relative_to(SERVING))


def texts(source: str) -> list[Text]:
    found = extract("python", BytesIO(source.encode()), keywords=KEYWORDS)
    every = [(context, text if isinstance(text, str) else text[0]) for _, text, _, context in found]
    return [(context, text) for context, text in every if text]


def _french() -> dict[Text, tuple[str, ...]]:
    """The French of each text, with the plural where there is one."""
    found = {}
    for message in catalog("fr"):
        if not message.id:
            continue
        text = message.id if isinstance(message.id, str) else message.id[0]
        french = (message.string,) if isinstance(message.string, str) else tuple(message.string)
        found[message.context, text] = () if message.fuzzy else french
    return found


def _of_models() -> set[Text]:
    every = models.all_specs()
    shown = {("model", text) for spec in every for text in (spec.title, spec.caution, spec.metric.title)}
    return shown | {("class", name) for spec in every for name in spec.classes}


def _of_allauth() -> set[Text]:
    with (Path(allauth.__file__).parent / "locale/fr/LC_MESSAGES/django.mo").open("rb") as file:
        return {(one.context, one.id if isinstance(one.id, str) else one.id[0]) for one in read_mo(file)}


@pytest.mark.parametrize("room", ROOMS)
def test_every_text_is_there_in_french(room: str) -> None:
    french = _french()
    assert {text: file for text, file in _texts(room) if not all(french.get(text, ("",)))} == {}


def test_no_translation_is_left_over() -> None:
    used = {text for room in ROOMS for text, _ in _texts(room)} | _of_models() | _of_allauth()
    assert set(_french()) - used == set()


def test_a_translation_is_another_text() -> None:
    assert {text for (_, text), french in _french().items() if french[0] == text} - SAME == set()


def test_french_has_its_own_punctuation() -> None:
    """Curly apostrophes, and no line break before ; : ? ! or a unit, nor inside quotation marks."""
    wrong = re.compile(r"\w'\w| [;:?!»%]|« ")
    tags = re.compile(r"<[^>]*>|%\(\w+\)s")
    shown = [tags.sub("0", one) for french in _french().values() for one in french]
    assert [one for one in shown if wrong.search(one)] == []


@pytest.mark.parametrize("language", ["en", "fr"])
def test_translations_keep_the_values(language: str) -> None:
    """%(name)s stands in both, or a page would fail in one language."""
    assert [message.id for message in catalog(language) if message.id and list(message.check(None))] == []


def test_plurals_are_translated(tmp_path: Path) -> None:
    french = gettext.translation("django", compile_into(tmp_path, ["fr"]), ["fr"])
    told = [french.ngettext("%(days)s day", "%(days)s days", count) for count in (0, 1, 2, 7)]
    assert told == ["%(days)s jour"] * 2 + ["%(days)s jours"] * 2


PAGES = sorted(path for path in SERVING.glob("*/templates/**/*.html") if path.name != "500.html")


def bare_words(page: str) -> list[str]:
    """What a person would read of a template without translation: between tags, and in attributes that are read."""
    page = re.sub(r"{#.*?#}|<(script|style|code|svg).*?</\1>", "", page, flags=re.DOTALL)
    page = re.sub(r"{% blocktrans.*?{% endblocktrans.*?%}", "", page, flags=re.DOTALL)
    page = re.sub(r"{%.*?%}|{{.*?}}", "", page, flags=re.DOTALL)
    attributes = re.findall(r'\b(?:aria-label|title|placeholder|alt|data-confirm)="([^"]*)"', page)
    shown = " ".join([re.sub(r"<[^>]*>", " ", page), *attributes])
    return [word for word in re.findall(r"[^\W\d_][\w-]+", re.sub(r"&\w+;", " ", shown)) if word not in UNITS | NAMES]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(SERVING)))
def test_pages_have_no_words_outside_of_translation(path: Path) -> None:
    assert bare_words(path.read_text(encoding="utf-8")) == []


SCRIPTS = sorted(path for path in SERVING.glob("*/static/**/*.js") if "vendor" not in path.parts)


ENGLISH = re.compile(r"(?<![\w.#-])[A-Z]?[a-z]{2,},? [a-z]{2,}(?![\w-])|^[A-Z][a-z]+\W*$")


KEYS = {"Backspace", "Delete", "Enter"}
"""Names of keys, as browsers have them."""


def sentences(script: str) -> list[str]:
    """Texts of a script that look like English: two words, or one with a capital and more than it."""
    script = re.sub(r"/\*.*?\*/|(?<![:'\"`])//[^\n]*", "", script, flags=re.DOTALL)
    found = [text for _, text in re.findall(r"""(["'`])((?:\\.|(?!\1).)*)\1""", script)]
    plain = [re.sub(r"\$\{[^}]*\}", "", text) for text in found]
    return [text for text in plain if ENGLISH.search(text) and text not in KEYS]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(SERVING)))
def test_scripts_get_their_words_from_pages(path: Path) -> None:
    assert sentences(path.read_text(encoding="utf-8")) == []


def test_what_the_extractions_find() -> None:
    page = '{% load i18n %}{% translate "One" %}{% translate "Two" context "menu" %}'
    page += "{% blocktranslate count n=n %}{{ n }} thing{% plural %}{{ n }} things{% endblocktranslate %}"
    assert texts(templatize(page)) == [(None, "One"), ("menu", "Two"), (None, "%(n)s thing")]
    assert bare_words(page) == []
    assert bare_words('<p title="One">Two {{ three }} <b>{% translate "Four" %}</b></p>') == ["Two", "One"]
    script = "say('Not yet'); // a word\nlook(`#id .name`); say(`Expected: ${one}`)"
    assert sentences(script) == ["Not yet", "Expected: "]


def test_the_pages_follow_the_browser_and_the_choice(browser: Any, web: str) -> None:
    person = Visitor(browser, web, locale="fr-FR")
    person.open("/")
    assert person.page.locator("html").get_attribute("lang") == "fr"
    person.page.get_by_role("heading", name="Visage et genre").wait_for()
    person.page.get_by_role("button", name="English").click()
    person.page.get_by_role("link", name="Log in").wait_for()
    person.page.reload()
    assert person.page.locator("html").get_attribute("lang") == "en"
    person.close()
    assert person.faults == []
