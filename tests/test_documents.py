"""The documents are tested: what they name exists, and what exists is named."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from flows.cli import COMMANDS, LazyGroup
from registry.contract import catalog
from tests.conftest import PROJECT

README = (PROJECT / "README.md").read_text()
PAGES = sorted([PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    typed = re.findall(r"`visionloop ([^`]+)`", README.split("## The command line")[1].split("\n## ")[0])
    assert name in {word for one in typed for word in (one.split()[0], *re.findall(r"\\\| (\w+)", one))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_into_a_page_lead_to_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*\.md|)#([^)]*)\)", page.read_text()):
        headings = re.findall(r"^#+ (.*)$", ((page.parent / target) if target else page).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_commands_that_are_shown_exist_with_their_options(page: Path) -> None:
    text = page.read_text()
    fenced = "\n".join(re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL))
    lines = re.findall(r"^(?:\$ )?visionloop ([a-z][^#\n]*)", fenced, re.MULTILINE)
    for shown in [*lines, *re.findall(r"`visionloop ([a-z][^`#\n]*)", text)]:
        words = shlex.split(shown.split("\\|")[0], posix=True)
        group: click.Command | None = LazyGroup("visionloop")
        command = None
        while words and isinstance(group, click.Group):
            name = words.pop(0)
            command = group = group.get_command(click.Context(group), name)
            assert command is not None, f"visionloop {shown}: {name}"
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        for word in (one.strip("[],") for one in words):
            assert not word.startswith("--") or word in options, f"visionloop {shown}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_modules_that_are_run_exist(page: Path) -> None:
    for module in re.findall(
        r"python -m\s+((?:registry|training|serving|monitoring|flows|tests)[\w.]*)", page.read_text()
    ):
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_files_that_are_named_exist(page: Path) -> None:
    for named in re.findall(
        r"`((?:registry|training|serving|monitoring|flows|tests|docs)/[\w/.-]+\.(?:py|md))`", page.read_text()
    ):
        assert (PROJECT / named).exists(), named


@pytest.mark.parametrize("package", ["registry", "monitoring", "training", "serving", "flows"])
@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_figures_have_every_room(page: str, package: str) -> None:
    rooms = {path.parent.name for path in (PROJECT / package).glob("*/__init__.py")}
    figures = " ".join(re.findall(r"^```\w*$(.*?)^```$", (PROJECT / page).read_text(), re.MULTILINE | re.DOTALL))
    assert rooms <= set(re.findall(r"\w+", figures))


def test_documents_that_the_code_names_exist() -> None:
    for package in ("registry", "monitoring", "training", "serving", "flows", "tests"):
        for source in (PROJECT / package).rglob("*.py"):
            for named in re.findall(r"docs/[\w/-]+\.md", source.read_text()):
                assert (PROJECT / named).exists(), f"{source.relative_to(PROJECT)}: {named}"


def test_the_readme_names_every_model() -> None:
    for card in (PROJECT / "docs" / "models").glob("*.md"):
        assert card.stem in README
        assert card.stem in catalog.names()


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for named in re.findall(r"`make ([a-z-]+)", page.read_text()):
            assert named in targets, f"{page.name}: make {named}"


def test_the_lock_names_no_address_and_has_a_hash_for_everything() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    assert "://" not in lock
    pins = re.findall(r"^[a-zA-Z0-9_.-]+==", lock, re.MULTILINE)
    assert len(pins) > 150
    assert lock.count("--hash=sha256:") >= len(pins)
