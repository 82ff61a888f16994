"""Networks by name: `timm/mobilenetv3_small_100`, `keras/mobilenet_v2`, `ultralytics/yolov8n`, `smp/unet-resnet18`.

A name is `family/architecture`. Families are loaded when training asks for them: a service needs no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from registry.contract.parts import load
from registry.core.errors import SettingsError

if TYPE_CHECKING:
    from registry.contract.hooks import NetworkPart
    from registry.contract.spec import ModelSpec


class Family(NamedTuple):
    """Networks of one package.

    Attributes:
        framework: which engine trains them.
        tasks: what they can do.
        target: the class, made of the spec and the architecture's name.
    """

    framework: str
    tasks: tuple[str, ...]
    target: str


_CLASSES = ("classification", "features")
FAMILIES: Mapping[str, Family] = {
    "timm": Family("torch", _CLASSES, "registry.vision_tasks.timm_classifier:TimmClassifier"),
    "keras": Family("keras", _CLASSES, "registry.vision_tasks.keras_classifier:MobileNet"),
    "ultralytics": Family("ultralytics", ("detection",), "registry.vision_tasks.ultralytics_network:Ultralytics"),
    "smp": Family("torch", ("segmentation",), "registry.vision_tasks.smp_segmenter:SmpSegmenter"),
}


def network_of(spec: ModelSpec, name: str = "") -> NetworkPart:
    """The network of that name; "": `HOOKS` of the model's own `network.py`.

    Raises:
        SettingsError: there is no such family, or it is of another framework or task than the spec.
    """
    if not name:
        return load(f"registry.models.{spec.name}.network:HOOKS")  # type: ignore[no-any-return]
    family, _, architecture = name.partition("/")
    found = FAMILIES.get(family)
    if found is None or not architecture or spec.task not in found.tasks:
        fitting = [one for one, of in FAMILIES.items() if spec.task in of.tasks]
        raise SettingsError(
            f"the network of {spec.name} is {name!r}",
            expected=f"one for {spec.task}: {', '.join(f'{one}/NAME' for one in fitting)}",
            fix=f"correct registry/models/{spec.name}/model.py",
        )
    if spec.framework != found.framework:
        raise SettingsError(
            f"the network of {spec.name} is {name!r}, and its framework {spec.framework!r}",
            expected=f'framework="{found.framework}" for {family}/NAME',
            fix=f"correct registry/models/{spec.name}/__init__.py, or the network in model.py",
        )
    return load(found.target)(spec, architecture)  # type: ignore[no-any-return]
