"""Another key for all files: contents and times stay, whatever kills it, and whoever reads meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.access.encryption import encryption
from registry.core.errors import EncryptionError, SettingsError
from registry.core.settings import settings
from registry.encryption import files, format, keys, rotation
from registry.encryption.files import Writer
from tests.conftest import PROJECT
from tests.databases import own_database

COUNT = 12


@pytest.fixture(autouse=True)
def tables(project: Path) -> Iterator[None]:
    with own_database(project / "var" / "visionloop.db"):
        yield


def write_some(folder: Path) -> list[Path]:
    paths = [folder / "inputs" / f"day-{n % 3}" / f"{n}.png" for n in range(COUNT)]
    for path in paths:
        files.write_file(path, path.name.encode() * 1000, path.name)
        os.utime(path, (1e9, 1e9))
    (folder / "inputs" / "old.png").write_bytes(b"in the clear")
    return paths


def all_are_read(paths: list[Path]) -> bool:
    return all(files.read_file(path, path.name) == path.name.encode() * 1000 for path in paths)


def run(*words: str) -> str:
    done = CliRunner().invoke(encryption, words, catch_exceptions=False)
    return done.output


def test_every_file_gets_the_new_key_and_nothing_else_changes(project: Path) -> None:
    paths = write_some(project / "var")
    (old,), before = keys.keyring().keys, paths[0].read_bytes()
    output = run("rotate")
    new = keys.keyring().first
    assert new != old
    assert f"{COUNT} files are wrapped with key {new.id}" in output
    assert rotation.count_by_keys(project / "var") == {frozenset({new.id}): COUNT}
    assert paths[0].read_bytes()[format.HEADER_BYTES :] == before[format.HEADER_BYTES :]
    assert {path.stat().st_mtime for path in paths} == {1e9}
    keys.key_file().write_text(keys.key_file().read_text().splitlines()[0])
    assert keys.keyring().keys == (new,)
    assert all_are_read(paths)
    assert (project / "var" / "inputs" / "old.png").read_bytes() == b"in the clear"


KILLED = """
import os, signal, sys
from pathlib import Path
from registry.encryption import rotation
left = int(sys.argv[1])
write = os.pwrite
def step(*given):
    global left
    if left == 0:
        write(given[0], given[1][:30], *given[2:])  # half of a slot
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return write(*given)
os.pwrite = step
root = Path(sys.argv[2])
rotation.begin(rotation.count_by_keys(root))
rotation.rotate(root, lambda *_: None)
"""


@pytest.mark.parametrize("writes", [0, 1, 2, 3, 2 * COUNT - 2])
def test_a_rotation_that_was_killed_lost_nothing_and_goes_on(project: Path, writes: int) -> None:
    paths = write_some(project / "var")
    command = [sys.executable, "-c", KILLED, str(writes), str(project / "var")]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert all_are_read(paths)
    assert "without a new key" in run("rotate")
    assert len(keys.keyring().keys) == 2
    assert rotation.count_by_keys(project / "var") == {frozenset({keys.keyring().first.id}): COUNT}
    assert all_are_read(paths)
    assert "new key" in run("rotate"), "the next one is a rotation of its own"


def test_files_are_read_and_written_meanwhile(project: Path) -> None:
    paths = write_some(project / "var")
    over, wrong = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            try:
                wrong.extend([] if all_are_read(paths) else ["garbage"])
                files.write_file(paths[-1], paths[-1].name.encode() * 1000, paths[-1].name)
            except Exception as error:
                wrong.append(repr(error))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3):
        run("rotate")
    over.set()
    reader.join()
    assert wrong == []


def test_an_upload_that_is_being_written_goes_on_with_its_new_key(project: Path) -> None:
    path = project / "var" / "upload"
    with Writer.create(path, "upload") as out:
        out.write(b"one ")
        run("rotate")
        out.write(b"two")
        out.finish()
    assert files.read_file(path, "upload") == b"one two"
    assert rotation.count_by_keys(project / "var") == {frozenset({keys.keyring().first.id}): 1}


def test_files_whose_key_is_gone_are_named_and_stop_no_other(project: Path) -> None:
    paths = write_some(project / "var")
    keys.key_file().rename(project / "lost")
    files.write_file(project / "var" / "new", b"new", "new")
    lost = _id_of(project / "lost")
    assert json.loads(run("status", "--json"))["missing"] == {lost: COUNT}
    with pytest.raises(EncryptionError, match=f"{COUNT} are not: .* {lost}, which is not here") as caught:
        run("rotate")
    assert caught.value.exit_code == 13
    assert files.read_file(project / "var" / "new", "new") == b"new"
    keys.key_file().write_text(keys.key_file().read_text() + (project / "lost").read_text())
    run("rotate")
    assert all_are_read(paths)


def _id_of(path: Path) -> str:
    return keys._parse(path.read_text(), "a file").first.id


def test_secrets_of_accounts_get_the_new_key_too(project: Path) -> None:
    from serving.accounts.models import Letter

    sealed = files.encrypt_bytes(b"a letter", "letter")
    Letter.objects.create(recipients="me@example.org", subject="x", content=sealed, next_try=datetime.now(UTC))
    (old,) = keys.keyring().keys
    assert "1 secrets of accounts" in run("rotate")
    new = keys.keyring().first
    assert json.loads(run("status", "--json"))["entries"] == {new.id: 1, old.id: 0}
    keys.key_file().write_text(keys.key_file().read_text().splitlines()[0])
    assert files.decrypt_bytes(bytes(Letter.objects.get().content), "letter") == b"a letter"


def test_answers_get_the_new_key_too_and_those_in_the_clear_stay(project: Path) -> None:
    from monitoring.log import answers
    from monitoring.log.models import Answer, Prediction
    from serving.idempotency import store
    from serving.idempotency.models import KeyedRequest

    now, shared = datetime.now(UTC), {"model": "m", "version": 1, "role": "live", "latency_ms": 1, "status": 200}
    for name, sealed in (("old", None), ("new", answers.seal("new", b'{"class": "apple"}'))):
        row = Prediction.objects.create(id=name, time=now, outcome="ok", **shared)
        content = "" if sealed else '{"class": "apple"}'
        Answer.objects.create(prediction=row, time=now, size=9, content=content, sealed=sealed)
    claim = store.begin("me", "key", "f", timedelta(minutes=1))
    assert isinstance(claim, store.Claim)
    store.finish(claim, "f", 200, [], b"apple", "")
    KeyedRequest.objects.create(caller="me", key="old", fingerprint="f", lease=now, created=now, status=200, body=b"x")
    assert b"apple" not in bytes(KeyedRequest.objects.get(key="key").body)
    assert "2 answers" in run("rotate")
    assert json.loads(run("status", "--json"))["entries"] == {keys.keyring().first.id: 2, keys.keyring().keys[1].id: 0}
    keys.key_file().write_text(keys.key_file().read_text().splitlines()[0])
    assert [answers.of(row) for row in Prediction.objects.select_related("answer")] == [{"class": "apple"}] * 2
    for key, body in (("key", b"apple"), ("old", b"x")):
        earlier = store.begin("me", key, "f", timedelta(minutes=1))
        assert isinstance(earlier, store.Earlier)
        assert earlier.body == body


def test_an_answer_whose_key_is_lost_stops_no_other(project: Path) -> None:
    from monitoring.log import answers
    from monitoring.log.models import Answer, Prediction

    now, shared = datetime.now(UTC), {"model": "m", "version": 1, "role": "live", "latency_ms": 1, "status": 200}
    for name in ("lost", "kept"):
        row = Prediction.objects.create(id=name, time=now, outcome="ok", **shared)
        Answer.objects.create(prediction=row, time=now, size=9, content="", sealed=answers.seal(name, b"{}"))
        if name == "lost":
            keys.key_file().unlink()
    with pytest.raises(EncryptionError, match="1 are not: row lost of monitoring_answer is encrypted with key"):
        run("rotate")
    assert answers.of(Prediction.objects.get(id="kept")) == {}
    with pytest.raises(EncryptionError):
        answers.of(Prediction.objects.get(id="lost"))


def test_status_says_which_key_nothing_needs(project: Path) -> None:
    write_some(project / "var")
    (old,) = keys.keyring().keys
    run("rotate")
    (line,) = (one for one in run("status").splitlines() if one.startswith(old.id))
    assert "may be removed" in line
    facts = json.loads(run("status", "--json"))
    assert facts["files"] == {keys.keyring().first.id: COUNT, old.id: 0}
    assert facts["keys"] == str(project / "var" / "encryption.key")


def test_keys_of_the_setting_are_rotated_once_people_put_a_new_one_in_front(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = keys._new_line().strip()
    monkeypatch.setenv("VISIONLOOP_ENCRYPTION_KEY", old)
    settings.cache_clear()
    paths = write_some(project / "var")
    with pytest.raises(SettingsError, match="in the setting"):
        run("rotate")
    monkeypatch.setenv("VISIONLOOP_ENCRYPTION_KEY", f"{keys._new_line().strip()},{old}")
    settings.cache_clear()
    assert f"{COUNT} files are wrapped" in run("rotate")
    assert all_are_read(paths)


def test_a_slot_that_was_half_written_is_written_again(project: Path) -> None:
    path = files.write_file(project / "var" / "scan", b"scan", "scan")
    content = bytearray(path.read_bytes())
    content[format.HEADER_BYTES - 1] ^= 1
    path.write_bytes(content)
    assert files.read_file(path, "scan") == b"scan"
    assert rotation.rotate(project / "var", lambda *_: None) == (1, {})
    first, second = format.slots(path.read_bytes())
    assert first == second


def test_the_command_works_in_a_process_of_its_own(project: Path) -> None:
    """In this one, other tests may have loaded what the command should load itself."""
    files.write_file(project / "var" / "scan", b"x", "scan")

    def visionloop(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flows.cli", "encryption", *words]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    rotated = visionloop("rotate")
    assert (rotated.returncode, "1 files are wrapped" in rotated.stdout) == (0, True), rotated.stderr
    assert len(json.loads(visionloop("status", "--json").stdout)["files"]) == 2
    keys.key_file().unlink()
    assert visionloop("rotate").returncode == EncryptionError.exit_code
