"""Texts in other languages than English: `locale/<language>.po` beside this file, compiled at the start.

gettext's tools would do the same, but must be installed by hand.
"""

from __future__ import annotations

from pathlib import Path

from registry.core.files import write_file

FOLDER = Path(__file__).parent / "locale"


def compile_into(folder: Path) -> Path:
    """Compiles each language into `folder`, as Django's LOCALE_PATHS want it. Returns `folder`."""
    from io import BytesIO

    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    for source in sorted(FOLDER.glob("*.po")):
        compiled = BytesIO()
        with source.open("rb") as file:
            write_mo(compiled, read_po(file, locale=source.stem))
        target = folder / source.stem / "LC_MESSAGES" / "django.mo"
        if not target.is_file() or target.read_bytes() != compiled.getvalue():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(target, compiled.getvalue())
    return folder
