"""Every text of our pages has a French translation."""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.extract import extract_python
from django.utils.translation.template import templatize

import serving
from serving.web import languages

CALLS = {
    "gettext": None,
    "gettext_lazy": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
SERVING = Path(serving.__file__).parent
FOLDERS = [path.parents[1] for path in sorted(SERVING.glob("*/locale/fr.po"))]
SOURCES = sorted(
    path for folder in FOLDERS for pattern in ("*.html", "*.txt", "*.py") for path in folder.rglob(pattern)
)


def texts(source: str) -> Iterator[tuple[str | None, str]]:
    """The context and the English text of each call."""
    options: dict[str, object] = {}
    for _, name, found, _ in extract_python(io.BytesIO(source.encode()), list(CALLS), [], options):
        given = [found] if isinstance(found, str) else list(found)
        if name.startswith(("pgettext", "npgettext")):
            yield given[0], given[1]
        elif given[0]:
            yield None, given[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SERVING)))
def test_every_text_is_translated(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    catalog = languages.catalog("fr")
    for context, text in texts(source if path.suffix == ".py" else templatize(source)):
        message = catalog.get(text, context)
        assert message is not None, f"no fr.po has {text!r}, context {context!r}"
        translated = message.string if isinstance(message.string, str) else all(message.string)
        assert translated, f"no fr.po translates {text!r}"
        assert not message.fuzzy, text


def test_translations_keep_the_values() -> None:
    """%(name)s stands in both, or a page would fail in one language."""
    for language in ("fr", "en"):
        assert not any(list(message.check(None)) for message in languages.catalog(language) if message.id)


def test_what_the_extraction_finds() -> None:
    page = '{% load i18n %}{% translate "One" %}{% translate "Two" context "menu" %}'
    page += "{% blocktranslate count n=n %}{{ n }} thing{% plural %}{{ n }} things{% endblocktranslate %}"
    assert set(texts(templatize(page))) == {(None, "One"), ("menu", "Two"), (None, "%(n)s thing")}


def test_plurals_are_translated(tmp_path: Path) -> None:
    languages.compile_into(tmp_path, ["fr"])
    french = gettext.translation("django", tmp_path, ["fr"])
    told = [french.ngettext("%(days)s day", "%(days)s days", count) for count in (0, 1, 2, 7)]
    assert told == ["%(days)s jour"] * 2 + ["%(days)s jours"] * 2
