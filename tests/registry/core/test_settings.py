from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.core import errors
from registry.core.database import database_entry
from registry.core.errors import SettingsError
from registry.core.settings import Settings, project_root, read_settings
from tests.conftest import PROJECT


def test_environment_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / "visionloop.toml").write_text("router_port = 3100\nhome_port = 8800\n")
    found = read_settings({"VISIONLOOP_ROUTER_PORT": "3200"}, tmp_path)
    assert (found.router_port, found.home_port, found.mlflow_port) == (3200, 8800, 5000)
    assert found.var == tmp_path / "var"


@pytest.mark.parametrize(
    ("environment", "file", "says"),
    [
        ({"VISIONLOOP_ROUTER_PROT": "1"}, "", "did you mean 'router_port'"),
        ({}, "routerport = 1", "did you mean 'router_port'"),
        ({"VISIONLOOP_ROUTER_PORT": "many"}, "", "router_port"),
        ({"VISIONLOOP_ROUTER_PORT": "99999"}, "", "65535"),
        ({}, "router_port = = 3", "not TOML"),
        ({"VISIONLOOP_FALSE_ALARM_RATE": "1.5"}, "", "false_alarm_rate"),
    ],
)
def test_a_bad_setting_is_named_with_its_fix(tmp_path: Path, environment: dict[str, str], file: str, says: str) -> None:
    (tmp_path / "visionloop.toml").write_text(file)
    with pytest.raises(SettingsError) as caught:
        read_settings(environment, tmp_path)
    assert says in str(caught.value)
    assert caught.value.fix


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings({}, tmp_path).router_port = 1  # type: ignore[misc]


def test_children_inherit_the_place_and_the_silence(tmp_path: Path) -> None:
    env = read_settings({}, tmp_path).child_environment()
    assert env["VISIONLOOP_ROOT"] == str(tmp_path)
    assert env["DO_NOT_TRACK"] == "1"
    assert env["PATH"].startswith(str(Path(sys.executable).parent))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, None),
        ({"http_proxy": "http://proxy:8080"}, "0.0.0.0,127.0.0.1,localhost"),
        (
            {"HTTP_PROXY": "http://proxy:8080", "NO_PROXY": "corp.internal, localhost"},
            "corp.internal,localhost,0.0.0.0,127.0.0.1",
        ),
        ({"all_proxy": "socks5://proxy", "no_proxy": "*"}, "*"),
    ],
)
def test_a_proxy_of_the_company_is_not_between_our_own_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], told: str | None
) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    env = read_settings({"VISIONLOOP_HOST": "0.0.0.0"}, tmp_path).child_environment()
    assert (env.get("no_proxy"), env.get("NO_PROXY")) == (told, told)


def test_the_project_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert project_root(tmp_path / "a" / "b") == tmp_path


def test_only_the_settings_module_reads_the_environment_for_settings() -> None:
    """The reaper alone reads one: it imports no settings, so that little can end it."""
    reads = re.compile(r"getenv|environ\.get\(.VISIONLOOP|environ\[.VISIONLOOP\w*.\](?! =)")
    found = {
        path.name
        for package in ("registry", "monitoring", "training", "serving", "flows")
        for path in (PROJECT / package).rglob("*.py")
        if path.name != "settings.py" and reads.search(path.read_text())
    }
    assert found == {"reaper.py"}


def test_every_setting_is_in_the_documents() -> None:
    text = (PROJECT / "docs" / "settings.md").read_text()
    missing = [name for name in Settings.model_fields if f"`{name}`" not in text]
    assert not missing


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("sqlite:////var/data/a.db", "sqlite3", "/var/data/a.db"),
        ("sqlite:///a.db", "sqlite3", "a.db"),
        ("postgresql://me:p%40ss@db:5432/vision", "postgresql", "vision"),
    ],
)
def test_database_urls(url: str, engine: str, name: str) -> None:
    found = database_entry(url)
    assert found["ENGINE"].endswith(engine)
    assert found["NAME"] == name
    if engine == "postgresql":
        assert (found["PASSWORD"], found["PORT"]) == ("p@ss", "5432")


@pytest.mark.parametrize("url", ["mysql://a/b", "sqlite://", "nonsense"])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="postgresql://"):
        database_entry(url)


KINDS = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.VisionloopError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_how_and_with_which_code(kind: Any) -> None:
    more = {"retry_after_s": 2} if kind is errors.Overloaded else {}
    error = kind("a banana", expected="a scan", fix="send a scan", **more)
    assert str(error) == "a banana\nexpected: a scan\nfix: send a scan"
    said = {"error": kind.__name__, "found": "a banana", "expected": "a scan", "fix": "send a scan"}
    assert error.to_json().items() >= said.items()
    assert kind is errors.VisionloopError or (kind.exit_code, kind.http_status) != (1, 500), "it has no code of its own"


def test_a_password_in_the_database_s_address_is_not_shown() -> None:
    shown = repr(Settings(root=Path(), var=Path(), database_url="postgresql://someone:secret-word@localhost/company"))
    assert "secret-word" not in shown


def test_where_unknown_settings_are_left_out_bad_values_still_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "visionloop.toml").write_text("home_port = 8800\nof_tomorrow = 1\n")
    found = read_settings({"VISIONLOOP_OF_TODAY": "1", "VISIONLOOP_HOST": "0.0.0.0"}, tmp_path, known_only=True)
    assert (found.home_port, found.host) == (8800, "0.0.0.0")
    assert sorted(record.getMessage().partition(" is ignored")[0] for record in caplog.records) == [
        "VISIONLOOP_OF_TODAY",
        "of_tomorrow in visionloop.toml",
    ]
    with pytest.raises(SettingsError, match="router_port"):
        read_settings({"VISIONLOOP_ROUTER_PORT": "many"}, tmp_path, known_only=True)
