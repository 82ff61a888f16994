"""Networks by name: what they give, what is refused, and a head that changes its classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from registry.contract.hooks import Hooks, KerasHooks, UltralyticsNetwork
from registry.contract.spec import Budget, Metric, ModelSpec
from registry.core.errors import SettingsError
from registry.vision_tasks.networks import network_of
from registry.vision_tasks.timm_classifier import TimmClassifier

SPEC = ModelSpec(
    "bins", "Bins", "classification", "torch", ("a", "b"), Metric("accuracy", "Accuracy", 0.5), Budget(9, 9)
)
PARAMS = {"image_size": 32, "classes": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("timm/mobilenetv3_small_050", TimmClassifier),
        ("keras/mobilenet_v2", KerasHooks),
        ("ultralytics/yolov8n", UltralyticsNetwork),
    ],
)
def test_a_name_gives_the_network_of_its_family(name: str, kind: type) -> None:
    network = network_of(SPEC, name)
    assert isinstance(network, kind)
    assert "embedding" in network.OUTPUTS
    assert network.input_shape(PARAMS) == (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("tim/resnet18", "model.py"),
        ("timm/resnet_18", "did you mean timm/resnet"),
        ("keras/resnet", "model.py"),
        ("timm/", "model.py"),
    ],
)
def test_another_name_is_refused_with_what_fixes_it(name: str, fix: str) -> None:
    with pytest.raises(SettingsError) as caught:
        network_of(SPEC, name)
    assert fix in caught.value.fix
    assert caught.value.expected


def test_a_timm_network_gives_logits_and_the_features_before_them() -> None:
    hooks = network_of(SPEC, "timm/mobilenetv3_small_050")
    assert isinstance(hooks, TimmClassifier)
    model = hooks.build(PARAMS).eval()
    with torch.no_grad():
        logits, features = model(torch.rand(2, 3, 32, 32))
    head = model.get_submodule(hooks.HEAD)
    assert logits.shape == (2, 2)
    assert torch.allclose(head(features), logits, atol=1e-5)
    assert hooks.keep(model) == [head]
    assert hooks.thresholds(PARAMS) == {"classes": ["a", "b"]}


def test_a_champions_head_keeps_the_classes_that_it_knew() -> None:
    hooks = network_of(SPEC, "timm/mobilenetv3_small_050")
    assert isinstance(hooks, Hooks)
    old = {name: value.numpy() for name, value in hooks.build(PARAMS).state_dict().items()}
    new = {**PARAMS, "classes": ["c", "b", "a"]}
    found = hooks.inherit(old, {"classes": ["a", "b"]}, new)
    assert found is not None
    weight = "net.classifier.weight"
    np.testing.assert_array_equal(found[weight][[2, 1]], old[weight])
    assert found[weight].shape[0] == 3
    hooks.build(new).load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in found.items()})


def test_a_head_that_is_a_convolution_is_refused_before_training() -> None:
    hooks = network_of(SPEC, "timm/resnetv2_50")
    assert isinstance(hooks, TimmClassifier)
    with pytest.raises(SettingsError) as caught:
        hooks.build(PARAMS)
    assert "linear head" in caught.value.expected
