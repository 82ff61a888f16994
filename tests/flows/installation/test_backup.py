"""`visionloop backup` and `restore`: what is restored elsewhere answers the same, or nothing is restored."""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.installation import restore as restoring
from flows.installation.backup import backup
from flows.installation.restore import restore
from flows.stack import places
from registry.core.errors import BadInput, MissingKey, NotFound, Refused
from registry.core.settings import settings
from registry.encryption.keys import key_file
from registry.versions.bundle import Bundle
from tests.clusters import Cluster
from tests.databases import database_at
from tests.flows.installation.homes import add_run, answers, settle, turn_to


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> tuple[Path, dict[str, Any]]:
    """A backup of such an installation as a tar, and what it answered. The installation is gone."""
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as monkeypatch:
        var = turn_to(folder / "one", monkeypatch)
        var.mkdir()
        with database_at(f"sqlite:///{var / 'visionloop.db'}"):
            settle(tiny_bundle)
            before = answers()
            backup(folder / "all.tar")
    settings.cache_clear()
    shutil.rmtree(folder / "one")
    return folder / "all.tar", before


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[Path, dict[str, Any]]) -> Iterator[Path]:
    """Such an installation, itself restored; the operational database is open."""
    var = turn_to(tmp_path / "one", monkeypatch)
    restore(stored[0])
    with database_at(f"sqlite:///{var / 'visionloop.db'}"):
        yield var
    settings.cache_clear()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project folder; its `var`."""
    yield turn_to(tmp_path / "two", monkeypatch)
    settings.cache_clear()


def answers_now() -> dict[str, Any]:
    with database_at(settings().database):
        return answers()


def left_alone(var: Path) -> bool:
    return not any(
        path.is_file() for path in var.rglob("*") if path.parent.name not in ("locale", "keys", "LC_MESSAGES")
    )


def test_what_is_restored_elsewhere_answers_the_same(stored: tuple[Path, dict[str, Any]], elsewhere: Path) -> None:
    path, before = stored
    assert path.stat().st_mode & 0o077 == 0  # it holds keys
    restore(path)
    assert answers_now() == before
    assert (elsewhere / "restored-project" / "data.dvc").read_text() == "outs: []\n"
    assert not (elsewhere / places.RESTORING).exists()
    with pytest.raises(Refused, match="is not empty: it has bentoml"):
        restore(path)


def test_a_folder_is_as_good_as_a_tar(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = answers()
    made = backup(tmp_path / "copy")
    assert made.tables["monitoring_prediction"] == 1
    assert made.elsewhere == ["Prefect's history of runs"]
    with pytest.raises(Refused, match="exists already"):
        backup(tmp_path / "copy")
    with pytest.raises(Refused, match="is inside"):
        backup(home / "copy")
    turn_to(tmp_path / "two", monkeypatch)
    restore(tmp_path / "copy")
    assert answers_now() == before


def test_a_backup_of_a_running_installation_has_no_row_without_its_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connection

    from serving.accounts.models import User

    person, stop, made = User.objects.get(), threading.Event(), list[str]()

    def upload() -> None:
        while not stop.is_set():
            made.append(add_run(person, f"upload {len(made)}".encode() * 2000))
        connection.close()

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        while len(made) < 5:
            pass
        at_least = len(made)
        backup(tmp_path / "all.tar")
    finally:
        stop.set()
        thread.join()
    turn_to(tmp_path / "two", monkeypatch)
    restore(tmp_path / "all.tar")
    uploads = answers_now()["uploads"]  # reads, and decrypts, each
    assert at_least < len(uploads) <= len(made) + 1


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_postgresql_is_backed_up_by_rows_and_restored_into_an_empty_one(
    postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle
) -> None:
    urls = {name: postgres.make(name) for name in ("ours1", "mlflow1", "ours2", "mlflow2")}
    turn_to(
        tmp_path / "one", monkeypatch,
        VISIONLOOP_DATABASE_URL=urls["ours1"], VISIONLOOP_MLFLOW_BACKEND=alchemy(urls["mlflow1"]),
    )  # fmt: skip
    with database_at(urls["ours1"]):
        settle(tiny_bundle)
        before = answers()
        backup(tmp_path / "all.tar")
    more = {"VISIONLOOP_DATABASE_URL": urls["ours2"], "VISIONLOOP_MLFLOW_BACKEND": alchemy(urls["mlflow2"])}
    turn_to(tmp_path / "two", monkeypatch, **more)
    with database_at(urls["ours2"]):
        restore(tmp_path / "all.tar")
        assert answers() == before
    shutil.rmtree(tmp_path / "two")
    turn_to(tmp_path / "two", monkeypatch, **more)
    postgres.ask("UPDATE accounts_user SET email = 'another@example.com'", "ours2")
    with database_at(urls["ours2"]), pytest.raises(Refused, match="database_url is not empty"):
        restore(tmp_path / "all.tar")
    assert not (tmp_path / "two" / "var" / "inputs").exists()
    places.check(settings())  # nothing is left that `up` waits for


def alchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def flip(path: Path) -> None:
    """One bit of the database in it."""
    with tarfile.open(path) as tar:
        at = tar.getmember("visionloop.db").offset_data + 5000
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_manifest(path: Path) -> None:
    with tarfile.open(path) as tar:
        at = tar.getmember("manifest.json").offset
    path.write_bytes(path.read_bytes()[:at] + bytes(10240))


@pytest.mark.parametrize(
    ("damage", "says"),
    [(flip, "visionloop.db has other bytes"), (cut, "is not a whole backup"), (without_manifest, "no manifest")],
)
def test_a_damaged_backup_changes_nothing(damage: Any, says: str, stored: Any, elsewhere: Path, tmp_path: Path) -> None:
    damage(shutil.copy(stored[0], tmp_path / "bad.tar") and tmp_path / "bad.tar")
    with pytest.raises(BadInput, match=says):
        restore(tmp_path / "bad.tar")
    assert left_alone(elsewhere)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"format": 2}, Refused, "made by a newer visionloop"),
        ({"migrations": ["monitoring.9999_of_tomorrow"]}, Refused, "newer than this program: it has the migration"),
        ({"mlflow": "ffffffffffff"}, Refused, "MLflow's schema ffffffffffff"),
        ({"program": "0.0.0"}, BadInput, "its manifest was changed"),
    ],
)
def test_a_backup_of_another_version_changes_nothing(
    change: dict[str, Any], kind: type[Exception], says: str, stored: Any, elsewhere: Path, tmp_path: Path
) -> None:
    from flows.installation.archive import Backup, Manifest

    with tarfile.open(stored[0]) as tar:
        tar.extractall(tmp_path / "changed")
    manifest = tmp_path / "changed" / "manifest.json"
    if kind is Refused:
        found: Manifest = Backup(stored[0]).manifest
        for name, value in change.items():
            setattr(found, name, value)
        manifest.write_text(found.to_json())
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    with pytest.raises(kind, match=says):
        restore(tmp_path / "changed")
    assert left_alone(elsewhere)


def test_a_manifest_does_not_lead_out_of_the_backup(stored: Any, elsewhere: Path, tmp_path: Path) -> None:
    from flows.installation.archive import Backup

    with tarfile.open(stored[0]) as tar:
        tar.extractall(tmp_path / "evil")
    found = Backup(stored[0]).manifest
    found.files["../../outside"] = found.files["visionloop.db"]
    (tmp_path / "evil" / "manifest.json").write_text(found.to_json())
    with pytest.raises(BadInput, match="outside of itself"):
        restore(tmp_path / "evil")


def test_killed_while_files_move_it_is_finished_by_the_same_command(
    stored: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, done = restoring._put, list[Path]()

    def killed(path: Path, target: Path) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        put(path, target)
        done.append(target)

    monkeypatch.setattr(restoring, "_put", killed)
    with pytest.raises(KeyboardInterrupt):
        restore(stored[0])
    with pytest.raises(Refused, match="was interrupted"):
        places.check(settings())
    monkeypatch.setattr(restoring, "_put", put)
    restore(stored[0])
    places.check(settings())
    assert answers_now() == stored[1]


def test_one_without_keys_needs_those_of_its_installation(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, keys = answers(), key_file().read_bytes()
    made = backup(tmp_path / "all.tar", keys=False)
    assert not made.has_keys
    assert not any(name.startswith(("var/keys/", "var/encryption.key")) for name in made.files)
    var = turn_to(tmp_path / "two", monkeypatch)
    with pytest.raises(MissingKey, match="which is not here"):
        restore(tmp_path / "all.tar")
    var.mkdir(exist_ok=True)
    (var / "encryption.key").write_bytes(keys)
    restore(tmp_path / "all.tar")
    assert answers_now() == before


def test_another_key_is_not_overwritten(stored: Any, elsewhere: Path) -> None:
    from registry.encryption.keys import keyring

    keyring()
    before = key_file().read_bytes()
    with pytest.raises(Refused, match="another installation's encryption key"):
        restore(stored[0])
    assert key_file().read_bytes() == before


def test_what_is_no_backup_is_said_so(elsewhere: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no backup"):
        restore(tmp_path / "none.tar")
    (tmp_path / "text.tar").write_text("something")
    with pytest.raises(BadInput, match="not a whole backup"):
        restore(tmp_path / "text.tar")
