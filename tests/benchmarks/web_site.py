"""A stack of the benchmark's own, with one packaged model that answers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from flows.stack.control import Stack
from registry.contract import catalog
from registry.core.errors import MissingService
from registry.core.settings import Settings
from serving.releases import deploy, packaging
from tests.clips import scene
from tests.databases import own_database
from tests.detector_bundle import make_detector_bundle
from tests.flows.conftest import own_settings, taken_down
from tests.serving import people
from tests.serving.controlled import Numbered
from tests.serving.people import Person
from tests.waiting import until

MODEL = "object_detection"
WORK = 4
"""Convolutions of 32 channels in its network: a prediction then takes about as long as one of a real detector."""
PROCESSES = ("router", "web", "keeper", "guard")
"""MLflow and Prefect are left out: nobody who asks for a page or a prediction reaches them."""


@dataclass(frozen=True)
class Site:
    """What runs.

    Attributes:
        people: logged in, with a session each.
        picture: a photograph as a phone makes it, JPEG.
    """

    config: Settings
    stack: Stack
    people: list[Person]
    picture: bytes

    @property
    def address(self) -> str:
        """Of the web application."""
        return self.config.web_address

    def process(self, name: str) -> int:
        """The id of a process of the stack."""
        return next(one.pid for one in self.stack.status() if one.name == name)


@contextmanager
def running_site(root: Path, count: int) -> Iterator[Site]:
    """The stack in the project folder `root`, with `count` people, until the block ends."""
    with own_settings(root) as config:
        config.apply_environment()
        with own_database(config.var / "visionloop.db"), taken_down(config) as stack:
            with suppress(MissingService):  # on a full machine the supervisor is later than `up` waits for it
                stack.up(PROCESSES)
            until(stack.running, 180, 0.5)
            stack.wait()
            version = Numbered(MODEL, 1)
            bundle = make_detector_bundle(root / "bundle", catalog.get(MODEL), work=WORK)
            tag = packaging.package(version, bundle)
            deploy.follow(deploy.roll_out(version, tag, anyway="a benchmark"), config.router_address)
            made = people.make(*(f"person-{number}@example.org" for number in range(count)))
            until(lambda: "before.jpg" in httpx.get(f"{config.web_address}/", timeout=60).text, 120, 0.5)
            yield Site(config, stack, made, photograph())


def photograph(width: int = 1280, height: int = 960) -> bytes:
    """A scene in noise, as large as a photograph is: a JPEG of some 200 kB."""
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    pixels = np.clip(scene(3, width, height)[..., ::-1] + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=88)
    return out.getvalue()
