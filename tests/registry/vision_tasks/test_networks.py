"""Networks by name: what they give, what is refused, and a head that changes its classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from registry.contract.hooks import Hooks, KerasHooks, UltralyticsNetwork
from registry.contract.spec import Budget, Metric, ModelSpec
from registry.core.errors import BadInput, SettingsError
from registry.core.media import Case
from registry.core.runtime import open_session
from registry.vision_tasks.classifier import classifier
from registry.vision_tasks.networks import network_of
from registry.vision_tasks.smp_segmenter import ARCHITECTURES, SmpSegmenter
from registry.vision_tasks.timm_classifier import TimmClassifier
from training.export import onnx_export
from training.prune import torch_pruning

SPEC = ModelSpec(
    "bins", "Bins", "classification", "torch", ("a", "b"), Metric("accuracy", "Accuracy", 0.5), Budget(9, 9)
)
SEGMENTS = replace(SPEC, task="segmentation", metric=Metric("dice", "Dice", 0.5))
PARAMS = {"image_size": 32, "classes": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "spec", "kind"),
    [
        ("timm/mobilenetv3_small_050", SPEC, TimmClassifier),
        ("keras/mobilenet_v2", replace(SPEC, framework="keras"), KerasHooks),
        ("ultralytics/yolov8n", replace(SPEC, task="detection", framework="ultralytics"), UltralyticsNetwork),
        ("smp/unet-resnet18", SEGMENTS, SmpSegmenter),
    ],
)
def test_a_name_gives_the_network_of_its_family(name: str, spec: ModelSpec, kind: type) -> None:
    network = network_of(spec, name)
    assert isinstance(network, kind)
    assert "embedding" in network.OUTPUTS
    assert network.input_shape(PARAMS) == (3, 32, 32)


@pytest.mark.parametrize(
    ("name", "spec", "fix"),
    [
        ("tim/resnet18", SPEC, "model.py"),
        ("timm/resnet_18", SPEC, "did you mean timm/resnet"),
        ("keras/resnet", replace(SPEC, framework="keras"), "model.py"),
        ("timm/", SPEC, "model.py"),
        ("timm/resnet18", replace(SPEC, framework="keras"), "__init__.py"),
        ("keras/mobilenet_v2", SPEC, "__init__.py"),
        ("ultralytics/yolov8n", SPEC, "model.py"),
        ("timm/resnet18", SEGMENTS, "model.py"),
        ("smp/unet-resnet_18", SEGMENTS, "did you mean smp/unet-resnet18"),
        ("smp/unett-resnet18", SEGMENTS, "did you mean smp/unet-resnet18"),
        ("smp/resnet18", SEGMENTS, "model.py"),
    ],
)
def test_another_name_is_refused_with_what_fixes_it(name: str, spec: ModelSpec, fix: str) -> None:
    with pytest.raises(SettingsError) as caught:
        network_of(spec, name)
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
    found = hooks.inherit(old, ["a", "b"], new)
    assert found is not None
    weight = "net.classifier.weight"
    np.testing.assert_array_equal(found[weight][[2, 1]], old[weight])
    assert found[weight].shape[0] == 3
    hooks.build(new).load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in found.items()})


def test_the_classes_of_a_data_set_are_those_of_kerass_network_too(tmp_path: Path) -> None:
    """A user's own classes, in place of the spec's: in examples, network, bundle and fine-tuning."""
    from training.engines.engine_keras import KerasEngine

    hooks, engine = network_of(replace(SPEC, framework="keras"), "keras/mobilenet_v2"), KerasEngine()
    assert isinstance(hooks, KerasHooks)
    own = {**PARAMS, "classes": ["c", "b", "a"]}
    picture = tmp_path / "c.png"
    picture.write_bytes(cv2.imencode(".png", np.full((32, 32, 3), 90, np.uint8))[1].tobytes())
    x, y = hooks.examples([Case("1", "train", "starter", picture, "c")], own, True, 3)[0]
    assert (x.shape, y) == ((32, 32, 3), 0)
    logits = engine.session(hooks, engine.build(hooks, own, 3))(np.zeros((1, 3, 32, 32), np.float32))["logits"]
    assert logits.shape == (1, 3)
    assert hooks.thresholds(own) == {"classes": ["c", "b", "a"]}
    old = engine.weights(engine.build(hooks, PARAMS, 5))
    fitting = hooks.inherit(old, ["a", "b"], own)
    assert fitting is not None
    found = engine.weights(engine.restore(hooks, own, fitting))
    np.testing.assert_array_equal(found["classes/kernel"][:, [2, 1]], old["classes/kernel"])
    np.testing.assert_array_equal(found["Conv1/kernel"], old["Conv1/kernel"])


def test_a_label_of_open_classes_may_be_any_name_and_of_the_models_own_only_theirs() -> None:
    own, closed = (classifier(SPEC, "keras/mobilenet_v2", open_classes=open_).score for open_ in (True, False))
    assert own.truth(b" rust \n") == "rust"
    assert own.score([own.result_of("rust", None)], ["rust"]) == 1
    with pytest.raises(BadInput):
        own.truth(b"two\nlines")
    with pytest.raises(BadInput, match="rust"):
        closed.truth(b"rust")


def test_a_head_that_is_a_convolution_is_refused_before_training() -> None:
    hooks = network_of(SPEC, "timm/resnetv2_50")
    assert isinstance(hooks, TimmClassifier)
    with pytest.raises(SettingsError) as caught:
        hooks.build(PARAMS)
    assert "linear head" in caught.value.expected


@pytest.mark.parametrize("name", [*(f"{one}-resnet18" for one in ARCHITECTURES), "unet-mobilenet_v2"])
def test_a_segmentation_network_is_exported_whole_and_with_fewer_channels(name: str, tmp_path: Path) -> None:
    hooks = network_of(SEGMENTS, f"smp/{name}")
    assert isinstance(hooks, SmpSegmenter)
    params, x = {**PARAMS, "image_size": 64}, torch.rand(2, 3, 64, 64)
    model = hooks.build(params).eval()
    batches = [(x, (torch.rand(2, 2, 64, 64) > 0.5).float())]
    smaller = torch_pruning.prune(hooks, model, (3, 64, 64), 0.5, batches)
    again = torch_pruning.reshape_like(hooks.build(params), smaller.state_dict()).eval()
    sizes = [sum(p.numel() for p in one.parameters()) for one in (model, again)]
    assert sizes[1] < 0.6 * sizes[0]
    for number, one in enumerate((model, again)):
        path = onnx_export.to_onnx(one, hooks.OUTPUTS, (3, 64, 64), tmp_path / f"{number}.onnx")
        found = open_session(path, "onnxruntime", "f32")(x.numpy())
        with torch.no_grad():
            wanted = one(x)
        assert found["mask"].shape == (2, 2, 64, 64)
        np.testing.assert_allclose(found["mask"], wanted[0].numpy(), atol=1e-3)
        np.testing.assert_allclose(found["embedding"], wanted[1].numpy(), atol=1e-3)


def test_the_loss_of_a_segmentation_counts_each_class_alike() -> None:
    hooks = network_of(SEGMENTS, "smp/unet-resnet18")
    assert isinstance(hooks, SmpSegmenter)
    target = torch.zeros(1, 2, 16, 16)
    target[:, 0], target[:, 1, :2, :2] = 1, 1
    right = 20 * (target - 0.5)
    losses = []
    for number in range(2):
        wrong = right.clone()
        wrong[:, number] = -20 * torch.ones(16, 16)
        losses.append(float(hooks.loss((wrong,), target) - hooks.loss((right,), target)))
    assert float(hooks.loss((right,), target)) < 0.01
    assert losses[1] > 0.4, "the small class is missed altogether"


def test_options_that_fit_no_such_decoder_are_refused() -> None:
    hooks = network_of(SEGMENTS, "smp/fpn-resnet18")
    assert isinstance(hooks, SmpSegmenter)
    with pytest.raises(SettingsError) as caught:
        hooks.build({**PARAMS, "decoder_channels": [64, 32, 16, 8, 8]})
    assert "decoder_channels" in caught.value.fix
