"""The key file: made once, for its owner only; several keys; keys that are missing or are none."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from registry.core.errors import EncryptionError, SettingsError
from registry.core.settings import settings
from registry.encryption import files, keys
from tests.conftest import PROJECT

ONE, TWO = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


def use(monkeypatch: pytest.MonkeyPatch, **given: str) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"VISIONLOOP_{name.upper()}", value)
    settings.cache_clear()


def test_a_first_key_is_made_for_its_owner_only(project: Path) -> None:
    files.write_file(project / "scan", b"x", "scan")
    path = project / "var" / "encryption.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(base64.b64decode(path.read_text())) == 32
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_processes_that_start_together_agree_on_one_key(project: Path) -> None:
    ask = "from registry.encryption.keys import keyring; print(keyring().first.id)"
    processes = [
        subprocess.Popen([sys.executable, "-c", ask], stdout=subprocess.PIPE, text=True, cwd=PROJECT, env=os.environ)
        for _ in range(6)
    ]
    assert len({one.communicate()[0] for one in processes}) == 1
    assert keys.keyring().first.id


def test_the_first_key_wraps_and_all_unwrap(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, encryption_key=ONE)
    files.write_file(project / "old", b"old", "old")
    use(monkeypatch, encryption_key=f"{TWO},{ONE}")
    files.write_file(project / "new", b"new", "new")
    assert files.read_file(project / "old", "old") == b"old"
    use(monkeypatch, encryption_key=TWO)
    assert files.read_file(project / "new", "new") == b"new"
    with pytest.raises(EncryptionError, match="which is not here") as caught:
        files.read_file(project / "old", "old")
    assert keys.Key(b"\1" * 32).id in caught.value.found
    assert keys.Key(b"\2" * 32).id in caught.value.expected


def test_a_new_key_is_used_at_once_and_the_old_one_still_reads(project: Path) -> None:
    files.write_file(project / "old", b"old", "old")
    before = keys.keyring().first
    made = keys.add_key()
    assert [key.id for key in keys.keyring().keys] == [made.id, before.id]
    assert stat.S_IMODE(keys.key_file().stat().st_mode) == 0o600
    assert files.read_file(project / "old", "old") == b"old"


def test_people_may_write_notes_into_the_key_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "keys").write_text(f"# of this year\n{TWO}  # made in May\n\n{ONE}\n")
    use(monkeypatch, encryption_key_file="keys")
    assert keys.keyring().keys == (keys.Key(b"\2" * 32), keys.Key(b"\1" * 32))


@pytest.mark.parametrize("text", ["", "# none\n", "a banana", ONE[:-8], ONE + ONE, f"{ONE}\nbanana"])
def test_what_is_no_key_is_refused_and_not_shown(project: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (project / "keys").write_text(text)
    use(monkeypatch, encryption_key_file="keys")
    with pytest.raises(SettingsError) as caught:
        keys.keyring()
    assert "banana" not in str(caught.value)
    assert ONE[:-8] not in str(caught.value)


def test_a_named_key_file_is_never_made(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk with it may be away, and a second key would be hidden when it comes back."""
    use(monkeypatch, encryption_key_file=str(project / "mount" / "keys"))
    with pytest.raises(SettingsError, match="there is no key file"):
        keys.keyring()
    assert not (project / "mount").exists()


def test_a_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, encryption_key=ONE)
    assert ONE not in repr(settings())
    assert "\\x01" not in repr(keys.keyring())


def test_a_key_in_the_setting_is_changed_by_people_only(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, encryption_key=ONE)
    with pytest.raises(SettingsError, match="in the setting"):
        keys.add_key()
