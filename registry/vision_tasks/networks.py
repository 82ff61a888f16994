"""Networks by name: `timm/mobilenetv3_small_100`, `keras/mobilenet_v2`, `ultralytics/yolov8n`.

A name is `family/architecture`. Families are loaded when training asks for them: a service needs no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from registry.contract.parts import load
from registry.core.errors import SettingsError

if TYPE_CHECKING:
    from registry.contract.hooks import NetworkPart
    from registry.contract.spec import ModelSpec

FAMILIES: Mapping[str, str] = {
    "timm": "registry.vision_tasks.timm_classifier:TimmClassifier",
    "keras": "registry.vision_tasks.keras_classifier:MobileNet",
    "ultralytics": "registry.vision_tasks.ultralytics_network:Ultralytics",
}
"""Family -> class, made of the spec and the architecture's name."""


def network_of(spec: ModelSpec, name: str = "") -> NetworkPart:
    """The network of that name; "": `HOOKS` of the model's own `network.py`.

    Raises:
        SettingsError: there is no such family.
    """
    if not name:
        return load(f"registry.models.{spec.name}.network:HOOKS")  # type: ignore[no-any-return]
    family, _, architecture = name.partition("/")
    if family not in FAMILIES or not architecture:
        raise SettingsError(
            f"the network of {spec.name} is {name!r}",
            expected=f"one of {', '.join(f'{one}/NAME' for one in FAMILIES)}",
            fix=f"correct registry/models/{spec.name}/model.py",
        )
    return load(FAMILIES[family])(spec, architecture)  # type: ignore[no-any-return]
