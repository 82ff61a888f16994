"""Fruit: drawn so that colour alone does not tell it apart, and described by features whose space is exact."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from registry.core.errors import BadInput
from registry.models.fruit_features import SPEC, scenes
from registry.models.fruit_features.fruits import FRUITS
from registry.models.fruit_features.network import HOOKS as network
from registry.models.fruit_features.network import FruitNet
from registry.models.fruit_features.result import FAR, FruitResult
from registry.scenes.solids import Frame, Light
from registry.vision.picture import decode
from training.engines.engine_torch import TorchEngine
from training.export import onnx_export
from training.prune import torch_pruning

data = SPEC.data
inference = SPEC.inference
render = SPEC.render
score = SPEC.score
shift = SPEC.shift
PARAMS = {"image_size": 32, "components": 8, "freeze_epochs": 2, "unfreeze_from": 14, "batch": 4, "seed": 1}
LIMIT = 10**7


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 + 15 pictures: two and one of each kind."""
    root = tmp_path_factory.mktemp("fruits")
    data.synthesise(root, {"seed": 7, "train": 30, "val": 15, "test": 15})
    return root


@pytest.fixture
def net() -> FruitNet:
    torch.manual_seed(0)
    made = network.build(PARAMS)
    assert isinstance(made, FruitNet)
    return made


def batches(root: Path, classes: tuple[str, ...] = SPEC.classes) -> list[tuple[torch.Tensor, torch.Tensor]]:
    cases = [case for case in data.cases(root) if case.split == "train"]
    examples = network.examples(cases, {**PARAMS, "classes": list(classes)}, False, 1)
    return list(torch.utils.data.DataLoader(examples, 8))


# --- the starter data


def test_every_kind_is_drawn_and_the_kinds_are_balanced(starter: Path) -> None:
    assert set(FRUITS) == set(SPEC.classes)
    counts = Counter((case.split, case.truth) for case in data.cases(starter))
    assert counts == {(s, name): n for s, n in (("train", 2), ("val", 1), ("test", 1)) for name in SPEC.classes}
    assert {case.attributes["view"] for case in data.cases(starter)} == {"one"}
    assert scenes.make(np.random.default_rng(0), 2 * len(SPEC.classes)).attributes == {"view": "several"}


def test_starter_bytes_are_those_that_were_committed(starter: Path) -> None:
    """data.dvc names one hash for everybody: a change of the drawings (or of a library under them) shows here."""
    files = sorted(path for path in starter.rglob("*") if path.is_file())
    found = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:16]
    assert found == "e9dc9118efe26673"


@pytest.mark.parametrize("name", FRUITS)
def test_a_fruit_fills_its_frame_and_never_looks_the_same(name: str) -> None:
    layers = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        frame = Frame.of(20, rng.uniform(-0.6, 0.6), 0.95, Light.draw(rng))
        layers.append(FRUITS[name](rng, frame))
    for layer in layers:
        assert 0.1 < layer.alpha.mean() < 0.75
        assert layer.alpha.min() >= 0
        assert layer.alpha.max() <= 1 + 1e-9
        assert layer.colour.min() >= 0
        assert layer.colour.max() <= 255
        border = np.concatenate([layer.alpha[0], layer.alpha[-1], layer.alpha[:, 0], layer.alpha[:, -1]])
        assert (border > 0.5).mean() < 0.2, "it is cut off"
    assert len({layer.colour.tobytes() for layer in layers}) == 4


def test_colour_alone_does_not_tell_the_kinds_apart() -> None:
    """The nearest of 150 colour histograms names less than half of 60 other pictures rightly."""

    def histogram(seed: int, n: int) -> np.ndarray:
        body = scenes.make(np.random.default_rng([seed, n]), n).picture
        hsv = cv2.cvtColor(decode(body, LIMIT).pixels, cv2.COLOR_BGR2HSV)
        counts = cv2.calcHist([hsv], [0, 1, 2], None, [12, 4, 4], [0, 180, 0, 256, 0, 256]).ravel()
        return np.sqrt(counts / counts.sum())

    known = np.array([histogram(1, n) for n in range(150)])
    new = np.array([histogram(2, n) for n in range(60)])
    kinds = len(SPEC.classes)
    right = ((new @ known.T).argmax(axis=1) % kinds == np.arange(60) % kinds).mean()
    assert 1.5 / kinds < right < 0.6


# --- the network and its space


def test_outputs_have_their_shapes_and_the_exported_network_the_same_values(net: FruitNet, tmp_path: Path) -> None:
    x = torch.rand(3, 3, 32, 32)
    net.eval()
    outputs = net(x)
    assert [tuple(value.shape) for value in outputs] == [(3, 15), (3, 1280), (3, 8), (3, 15)]
    import onnx
    import onnxruntime

    path = onnx_export.to_onnx(net, network.OUTPUTS, network.input_shape(PARAMS), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for ours, theirs in zip(outputs, session.run(list(network.OUTPUTS), {"image": x.numpy()}), strict=True):
        np.testing.assert_allclose(theirs, ours.detach().numpy(), rtol=2e-3, atol=2e-4)
    names = [node.name for node in onnx.load(path).graph.node]
    kept = [name for name in names if any(re.fullmatch(p, name) for p in network.FULL_PRECISION)]
    assert any("MatMul" in name or "Gemm" in name for name in kept), "int8 would round the components"
    assert not any("features" in name for name in kept)


def test_weights_by_torchvisions_names_fit(net: FruitNet) -> None:
    import torchvision

    theirs = {k: v.numpy() for k, v in torchvision.models.mobilenet_v2().state_dict().items()}
    _, taken = TorchEngine().take_over(net, theirs)
    assert taken == len(theirs) - 2  # all but the head, which has 1000 classes there
    np.testing.assert_array_equal(net.features[0][0].weight.detach(), theirs["features.0.0.weight"])


def test_the_space_is_that_of_a_singular_value_decomposition(net: FruitNet, starter: Path) -> None:
    net.eval()
    found = batches(starter)
    with torch.no_grad():
        network.finish(net, found, PARAMS)
        features = torch.cat([net(x)[1] for x, _ in found]).double().numpy()
        pca = torch.cat([net(x)[2] for x, _ in found]).numpy()
        distances = torch.cat([net(x)[3] for x, _ in found]).numpy()
    labels = torch.cat([y for _, y in found]).numpy()
    scale = np.where(features.std(axis=0) > 1e-4, features.std(axis=0), 1)
    z = (features - features.mean(axis=0)) / scale
    _, _, vt = np.linalg.svd(z, full_matrices=False)
    expected = vt[:8] * np.sign(vt[:8][np.arange(8), np.abs(vt[:8]).argmax(axis=1)])[:, None]
    np.testing.assert_allclose(pca, z @ expected.T, atol=1e-2 * np.abs(pca).max())
    assert (np.diff(pca.var(axis=0)) <= 1e-6 * pca.var()).all(), "the first component varies most"
    centroids = np.array([pca[labels == c].mean(axis=0) for c in range(15)])
    far = np.linalg.norm(pca[:, None] - centroids[None], axis=2)
    np.testing.assert_allclose(distances, far, rtol=1e-2, atol=1e-2)


def test_components_beyond_the_rank_are_zero_and_classes_without_pictures_are_far(net: FruitNet, starter: Path) -> None:
    x, y = batches(starter)[0]
    net.eval()
    with torch.no_grad():
        network.finish(net, [(x[:4], y[:4])], PARAMS)
        outputs = net(x)
    assert (outputs[2][:, 3:] == 0).all()
    assert torch.isfinite(outputs[3]).all()
    seen = sorted(set(y[:4].tolist()))
    assert sorted((outputs[3][0] < FAR / 2).nonzero().ravel().tolist()) == seen


def test_pruning_keeps_all_1280_features_and_makes_the_network_smaller(net: FruitNet, starter: Path) -> None:
    before = torch_pruning.cost(net, (3, 32, 32))
    smaller = torch_pruning.prune(network, net, (3, 32, 32), 0.5, batches(starter)[:1])
    after = torch_pruning.cost(smaller, (3, 32, 32))
    assert after.macs < 0.5 * before.macs
    outputs = smaller.eval()(torch.rand(1, 3, 32, 32))
    assert [value.shape[1] for value in outputs] == [15, 1280, 8, 15]
    again = torch_pruning.reshape_like(network.build(PARAMS), smaller.state_dict()).eval()
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again(x)[1], smaller(x)[1])


# --- transfer learning


def test_transfer_learning_trains_the_head_then_the_top_and_leaves_frozen_batch_norm_alone(net: FruitNet) -> None:
    x, y = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])

    def step(epoch: int) -> set[str]:
        net.train()
        network.before_epoch(net, epoch, PARAMS, True)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
        network.loss(net(x), y).backward()
        optimizer.step()
        net.zero_grad(set_to_none=True)
        return {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}

    changed = step(0)
    assert changed == {"classifier.1.weight", "classifier.1.bias"}
    changed = step(2)
    blocks = {int(name.split(".")[1]) for name in changed if name.startswith("features.")}
    assert blocks == set(range(14, 19))
    assert any("running_mean" in name for name in changed)
    net.train()
    network.before_epoch(net, 0, PARAMS, False)
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(module.training for module in net.modules() if isinstance(module, nn.BatchNorm2d))


def test_a_champion_keeps_what_it_knows_of_other_classes(net: FruitNet) -> None:
    old = {name: value.numpy() for name, value in net.state_dict().items()}
    params = {**PARAMS, "classes": ["kiwi", "durian", "apple"]}
    torch.manual_seed(3)
    fitting = network.inherit(old, SPEC.classes, params)
    found = torch_pruning.reshape_like(
        network.build(params), {k: torch.from_numpy(np.array(v)) for k, v in fitting.items()}
    )
    assert isinstance(found, FruitNet)
    head = found.classifier[1].weight.detach().numpy()
    for row, name in ((0, "kiwi"), (2, "apple")):
        np.testing.assert_array_equal(head[row], old["classifier.1.weight"][SPEC.classes.index(name)])
    assert found.space.centroids.shape == (3, 8)


def test_augmentation_depends_on_seed_index_and_epoch_only(starter: Path) -> None:
    cases = [case for case in data.cases(starter) if case.split == "train"][:2]
    first, second = (network.examples(cases, PARAMS, True, 5) for _ in range(2))
    one = first[0][0]
    np.testing.assert_array_equal(second[0][0], one)
    second.set_epoch(1)
    assert not np.array_equal(second[0][0], one)
    plain = network.examples(cases, PARAMS, False, 5)[0][0]
    served = inference.preprocess(decode(cases[0].input.read_bytes(), LIMIT), network.preprocessing(PARAMS)).batch[0]
    np.testing.assert_array_equal(plain, served)


# --- answers


def result(logits: list[float], classes: tuple[str, ...] = ("apple", "kiwi", "plum")) -> FruitResult:
    prepared = inference.preprocess(decode(scenes.make(np.random.default_rng(0), 0).picture, LIMIT), {"image_size": 32})
    outputs = {
        "logits": np.array([logits], np.float32),
        "embedding": np.arange(1280, dtype=np.float32)[None],
        "pca": np.array([[1.5, -2.0]], np.float32),
        "nearest": np.array([[3.0, FAR, 1.0]], np.float32),
    }
    return inference.postprocess(outputs, prepared, {"classes": list(classes)})


def test_an_answer_names_the_class_and_the_nearest_ones_that_were_seen() -> None:
    said = result([2.0, 0.0, 1.0]).to_json()
    assert said["class"] == "apple"
    assert list(said["scores"]) == ["apple", "plum", "kiwi"]
    assert said["nearest"] == [{"class": "plum", "distance": 1.0}, {"class": "apple", "distance": 3.0}]
    assert said["pca"] == [1.5, -2.0]
    assert result([2.0, 0.0, 1.0]).statistics()["nearest_distance"] == 1.0


def test_the_features_come_as_an_array_on_request() -> None:
    sample = decode(scenes.make(np.random.default_rng(0), 0).picture, LIMIT)
    body = render.FORMATS["application/x-npy"](sample, result([1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), np.arange(1280, dtype=np.float32))


def test_versions_that_know_other_fruits_are_compared_by_name() -> None:
    ours, other = result([2.0, 0.0, 0.0]), result([2.0, 0.0, 0.0], ("pear", "fig", "apple"))
    assert score.score([ours, other], ["apple", "apple"]) == 0.5
    assert score.per_class([ours, other], ["apple", "apple"]) == {"apple": pytest.approx(2 / 3)}
    assert score.truth(b" apple\n") == "apple"
    for wrong in (b"", b"a\nb", b"\xff", "x" * 200):
        with pytest.raises(BadInput):
            score.truth(wrong)
