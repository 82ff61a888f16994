"""What callers are told to do, callers can do: no settings, no commands, no paths of this machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.core.errors import EncryptionError, MissingKey, SettingsError, StorageError, VisionloopError
from registry.core.settings import Settings
from serving.wire.responses import entry_json, error_response
from tests.conftest import PROJECT

FOLDERS = (
    "serving/wire", "serving/router", "serving/service", "serving/tasks", "serving/access", "serving/api",
    "registry/vision", "registry/video", "registry/vision_tasks", "registry/models", "registry/boxes",
    "monitoring/feedback",
)  # fmt: skip
FOR_OPERATORS = {
    "serving/access/keys.py": "the command line's own errors",
    "serving/service/bento.py": "a version that cannot be loaded: nobody calls it",
    "serving/tasks/store.py": "a full disk: `known_error` has other words for callers",
}
WORDS = (
    *(name for name in Settings.model_fields if "_" in name),
    "visionloop ",
    "VISIONLOOP_",
    "docs/",
    "the operator",
)


def _told(path: Path) -> Iterator[str]:
    """The constant texts of errors: calls with `expected` or `fix`."""
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and {"expected", "fix"} & {one.arg for one in call.keywords}:
            for part in (*call.args, *(one.value for one in call.keywords)):
                constants = (one.value for one in ast.walk(part) if isinstance(one, ast.Constant))
                yield from (one for one in constants if isinstance(one, str))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_error_tells_a_caller_what_only_an_operator_can_do(folder: str) -> None:
    found, seen = [], 0
    for path in sorted((PROJECT / folder).rglob("*.py")):
        name = str(path.relative_to(PROJECT))
        texts = list(_told(path)) if name not in FOR_OPERATORS else []
        seen += len(texts)
        found += [f"{name}: {text}" for text in texts if any(word in text for word in WORDS)]
    assert seen, "the folder has errors"
    assert not found


def test_a_full_disk_is_told_without_its_path() -> None:
    error = StorageError("no space left under /srv/var", fix="free some")
    answer = error_response(error)
    assert answer.status_code == 507
    assert b"/srv" not in answer.body
    assert "/srv" not in str(entry_json(error))


@pytest.mark.parametrize("kind", [EncryptionError, MissingKey, SettingsError])
def test_what_is_wrong_with_keys_is_told_to_the_log_only(
    kind: type[VisionloopError], caplog: pytest.LogCaptureFixture
) -> None:
    answer = error_response(kind("no key in /srv/var/encryption.key", fix="`visionloop encryption status`"))
    assert answer.status_code == 500
    assert b"encryption" not in answer.body
    assert "/srv/var/encryption.key" in caplog.text
