"""Images and what runs them, made once for all tests of containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.deploy import images
from registry.core.settings import settings
from serving.releases import packaging
from tests.bundles import MODEL, make_tiny_bundle
from tests.infra.containers import machine
from tests.infra.containers.machine import Machine
from tests.serving.conftest import Numbered


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine.check_tools()
    return Machine(tmp_path_factory.mktemp("podman"))


@pytest.fixture(scope="session")
def base(containers: Machine, tmp_path_factory: pytest.TempPathFactory) -> str:
    return machine.base_image(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def service_image(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image of an OpenVINO service, from a real Bento."""
    root = tmp_path_factory.mktemp("packaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONLOOP_ROOT", str(root))
        settings.cache_clear()
        bundle = make_tiny_bundle(root / "bundle", "in a container", engine="openvino")
        tag = packaging.package(Numbered(MODEL, 1), bundle)
        image = images.build_service(tag, "buildah", base=base, options=machine.build_options())
    settings.cache_clear()
    yield f"localhost/{image}"
    machine.remove(f"localhost/{image}")
