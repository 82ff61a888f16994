"""The image of a service, built by buildah and run by podman: read-only, without rights, and not as root."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.bundles import MODEL, make_scan
from tests.infra.containers.machine import Machine, free_port, size_mb
from tests.waiting import until

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1800)]
LIMIT_MB = 700
VAR = "/srv/visionloop/var"


def test_it_is_small_and_has_no_training_framework(containers: Machine, service_image: str) -> None:
    assert size_mb(service_image) <= LIMIT_MB
    packages = containers.podman(
        "run", "--rm", service_image, "ls", "/opt/visionloop/lib/python3.11/site-packages"
    ).split()
    assert {"openvino", "numpy", "cv2"} <= set(packages)
    assert {"torch", "tensorflow", "keras", "mlflow", "pip", "onnxruntime"}.isdisjoint(packages)


def test_it_says_which_version_it_is(containers: Machine, service_image: str) -> None:
    label = '{{index .Config.Labels "visionloop.model"}} {{index .Config.Labels "visionloop.version"}} {{.User}}'
    assert containers.podman("image", "inspect", "--format", label, service_image) == f"{MODEL} 1 10001:10001"


def test_it_predicts_without_rights_and_ends_well(containers: Machine, service_image: str) -> None:
    port = free_port()
    with containers.volume("service") as volume:
        options = ("--memory", "1g", "--volume", f"{volume}:{VAR}", "--publish", f"127.0.0.1:{port}:3000")
        with containers.running("service", service_image, *options) as name:
            address = f"http://127.0.0.1:{port}"
            until(lambda: httpx.get(f"{address}/readyz").status_code == 200, 120, 0.2, (httpx.HTTPError,))
            assert containers.podman("exec", name, "id", "-u") == "10001"
            assert "Read-only" in containers.podman("exec", name, "sh", "-c", "touch /opt/visionloop/x 2>&1 || true")
            rights = containers.podman("exec", name, "grep", "^Cap\\(Eff\\|Prm\\|Bnd\\)", "/proc/1/status").split()
            assert {one for one in rights if not one.startswith("Cap")} == {"0" * 16}
            containers.podman("healthcheck", "run", name)
            assert containers.state(name)["Health"]["Status"] == "healthy"
            answer = httpx.post(f"{address}/predict", files={"file": ("a.nii.gz", make_scan(3))}, timeout=60)
            assert answer.status_code == 200
            assert answer.json()["version"] == 1
            assert containers.podman("exec", name, "ls", f"{VAR}/spool")  # the prediction log
            began = time.monotonic()
            containers.podman("stop", "--time", "60", name)
            assert time.monotonic() - began < 20
            assert containers.state(name)["ExitCode"] == 0


def test_it_is_unhealthy_until_it_answers(containers: Machine, service_image: str) -> None:
    with containers.running("deaf", service_image, command=("sleep", "600")) as name:
        assert containers.podman("healthcheck", "run", name, check=False) == "unhealthy"


def test_at_its_limit_it_dies_alone(containers: Machine, service_image: str) -> None:
    port = free_port()
    with containers.running("roomy", service_image, "--tmpfs", VAR, "--publish", f"127.0.0.1:{port}:3000") as other:
        ready = f"http://127.0.0.1:{port}/readyz"
        until(lambda: httpx.get(ready).status_code == 200, 120, 0.2, (httpx.HTTPError,))
        with containers.running("narrow", service_image, "--memory", "48m", "--tmpfs", VAR) as name:
            until(lambda: containers.state(name)["Status"] == "exited", 120, 0.5)
            assert containers.state(name)["ExitCode"] == 137
            assert containers.ran_out_of_memory(name)
        assert httpx.get(ready).status_code == 200
        assert containers.state(other)["Status"] == "running"
