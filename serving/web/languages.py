"""Texts in other languages than English: `locale/<language>.po` in the rooms with pages, compiled at the start.

gettext's tools would do the same, but must be installed by hand.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from registry.core.files import write_file

SERVING = Path(__file__).parent.parent


def catalog(language: str) -> Catalog:
    """All texts of a language, of all rooms. Where two rooms have the same text, they must agree."""
    found = Catalog(locale=language)
    for source in sorted(SERVING.glob(f"*/locale/{language}.po")):
        with source.open("rb") as file:
            read = read_po(file, locale=language)
            # Those of the files: babel knows more forms of some languages than our texts have.
            found.mime_headers = [("Plural-Forms", read.plural_forms)]
            for message in read:
                if message.id:
                    known = found.get(message.id, message.context)
                    if known is not None and known.string != message.string:
                        raise ValueError(f"{source}: {message.id!r} is {message.string!r} and {known.string!r}")
                    found[message.id] = message
    return found


def compile_into(folder: Path, languages: list[str]) -> Path:
    """Compiles each language into `folder`, as Django's LOCALE_PATHS want it. Returns `folder`."""
    for language in languages:
        compiled = BytesIO()
        write_mo(compiled, catalog(language))
        target = folder / language / "LC_MESSAGES" / "django.mo"
        if not target.is_file() or target.read_bytes() != compiled.getvalue():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(target, compiled.getvalue())
    return folder
