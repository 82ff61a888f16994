"""The client as a wheel, in an environment that has nothing but what the wheel asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.serving.stubs import Stub, released, serving

MODEL = "fruit_features"
SCRIPT = """
import asyncio, sys
from pathlib import Path
import visionloop_client
from visionloop_client import AsyncClient, Client
from visionloop_client.errors import NotFound, VisionloopError

with Client(sys.argv[1]) as client:
    (model,) = [one for one in client.models() if one.name == "fruit_features"]
    found = client.predict(model.name, Path(sys.argv[2]))
    assert found.findings == {"class": "apple"}, found
    assert client.whoami().key is None
    try:
        client.prediction("0" * 32)
    except NotFound as error:
        assert isinstance(error, VisionloopError) and error.request_id

async def main():
    async with AsyncClient(sys.argv[1]) as client:
        return await client.predict("fruit_features", b"x", idempotency_key="once")

assert asyncio.run(main()).version == 1
print(visionloop_client.__file__)
"""
ANSWER = (
    b'{"class": "apple", "id": "1", "model": "fruit_features", "version": 1, "role": "live", "elapsed_ms": 1.0, '
    b'"timings_ms": {}}'
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel") / "client"
    script = f"from pathlib import Path; from infra.client_wheel import build; print(build(Path({str(out)!r})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and with the packages that it asks for as they are here: so
    nothing is fetched."""
    place = tmp_path_factory.mktemp("empty")
    venv.create(place, with_pip=False)
    (site,) = place.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True)
    for name in _needed(["httpx", "pydantic"]):
        found = distribution(name)
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(found.locate_file(file)), site / file)
    return place / "bin" / "python"


def _needed(names: list[str]) -> Iterator[str]:
    """The packages and all that they need, without extras."""
    seen, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        for line in requires(name) or ():
            if "extra ==" not in line and "python_version <" not in line and "python_version<" not in line:
                waiting.append(re.match(r"[\w.-]+", line)[0].lower())  # type: ignore[index]


@pytest.mark.slow
def test_it_asks_for_two_packages(wheel: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(wheel.parent / "opened")], check=True)
    assert done.returncode == 0
    (metadata,) = (wheel.parent / "opened").glob("*.dist-info/METADATA")
    needed = re.findall(r"^Requires-Dist: (\w+)", metadata.read_text(), re.MULTILINE)
    assert sorted(needed) == ["httpx", "pydantic"]


@pytest.mark.slow
def test_it_asks_a_router_from_an_empty_environment(router: str, python: Path, tmp_path: Path) -> None:
    picture = tmp_path / "apple.jpg"
    picture.write_bytes(b"x")
    with serving(Stub()) as stub, released(router, MODEL, stub):
        stub.body = ANSWER
        done = subprocess.run(
            [str(python), "-I", "-c", SCRIPT, router, str(picture)], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(python.parents[1]) in done.stdout


@pytest.mark.slow
def test_nothing_of_the_project_is_left_in_it(wheel: Path) -> None:
    for source in (wheel.parent / "source" / "visionloop_client").glob("*.py"):
        assert not re.search(r"\b(serving|registry)\.", source.read_text()), source.name
