"""ultralytics' networks in our engine: outputs, exactness of the split C2f, pruning, weights, examples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from registry.contract import catalog
from registry.contract.spec import Budget, Metric, ModelSpec
from registry.core.errors import SettingsError
from registry.core.media import Case
from registry.core.runtime import open_session
from registry.vision.picture import to_jpeg
from registry.vision_tasks.detector import DetectorScore
from registry.vision_tasks.ultralytics_network import Ultralytics
from training.engines import mosaic, yolo
from training.engines.engine_torch import TorchEngine
from training.workspace import pretrained

SIZE = 96
PARAMS = {"image_size": SIZE, "batch": 2, "seed": 3}
ARCHITECTURES = ("yolov8n.yaml", "yolov5n.yaml")
METRIC = Metric("map50", "mAP50", 0.5)
TRUTH = DetectorScore(ModelSpec("a", "A", "detection", "ultralytics", ("gun", "knife"), METRIC, Budget(9, 9))).truth


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def hooks_for(architecture: str, classes: tuple[str, ...] = ("gun", "knife")) -> yolo.YoloHooks:
    class Spec(ModelSpec):
        @property
        def network(self) -> Ultralytics:
            return Ultralytics(self, architecture.removesuffix(".yaml"))

        @property
        def score(self) -> Any:
            return DetectorScore(self)

    known = catalog.get("skin_segmentation")
    fields = {field.name: getattr(known, field.name) for field in dataclasses.fields(ModelSpec)}
    return yolo.YoloHooks(Spec(**fields | {"classes": classes, "framework": "ultralytics", "metric": METRIC}))


def original(architecture: str, classes: int = 2) -> Any:
    """ultralytics' own network, boxes as corners, statistics of its batch norms not those of a new one."""
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(5)
    net = DetectionModel(architecture, ch=3, nc=classes, verbose=False)
    net.train()
    with torch.no_grad():
        net(torch.rand(4, 3, SIZE, SIZE))
    net.model[-1].xyxy = True
    return net.eval()


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def a_target() -> torch.Tensor:
    return torch.tensor([[0, 0, 0.5, 0.5, 0.4, 0.3], [1, 1, 0.3, 0.6, 0.3, 0.5]])


def test_with_ultralytics_weights_it_computes_what_ultralytics_computes(architecture: str) -> None:
    net, hooks = original(architecture), hooks_for(architecture)
    given = {name: value.numpy() for name, value in net.state_dict().items()}
    model, taken = TorchEngine().take_over(hooks.build(PARAMS), hooks.rename(given))
    assert taken == len(model.state_dict())
    with torch.no_grad():
        predictions, embedding = model.eval()(pictures())
        expected = net(pictures())[0]
    assert predictions.shape == (2, 4 + 2, 144 + 36 + 9)
    assert torch.equal(predictions, expected)
    assert embedding.shape == (2, 256)


def test_names_of_its_own_pass_through_and_prefixes_go(architecture: str) -> None:
    hooks = hooks_for(architecture)
    own = TorchEngine().weights(hooks.build(PARAMS))
    assert hooks.rename(own).keys() == own.keys()
    assert hooks.rename({f"model.{name}": value for name, value in own.items()}).keys() == own.keys()


def test_a_new_head_expects_what_pictures_of_its_size_hold() -> None:
    hooks, net = hooks_for("yolov8n.yaml"), original("yolov8n.yaml").model[-1]
    large, small = (hooks.build(PARAMS | {"image_size": size}).head for size in (640, 160))
    for ours, theirs in ((large.cv2, net.cv2), (large.cv3, net.cv3)):
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one[-1].bias.detach(), two[-1].bias.detach(), atol=1e-5)
    for one, two in zip(small.cv3, large.cv3, strict=True):
        np.testing.assert_allclose((one[-1].bias - two[-1].bias).detach(), np.log(16), atol=1e-5)
    distances = [torch.softmax(head.cv2[0][-1].bias[:16].detach(), 0) @ torch.arange(16.0) for head in (large, small)]
    assert float(distances[0]) == pytest.approx(7.5, abs=1e-4)
    assert 1.5 < float(distances[1]) < 3


def test_the_loss_falls_and_says_the_same_in_training_and_evaluation_mode(architecture: str) -> None:
    torch.manual_seed(0)
    hooks = hooks_for(architecture)
    model = hooks.build(PARAMS)
    optimizer = torch.optim.AdamW(model.parameters(), 0.002)
    losses = []
    for _ in range(6):
        loss = hooks.loss(model.train()(pictures()), a_target())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    model.training = model.head.training = True  # the same normalisation, but the training branch
    with torch.no_grad():
        one = float(hooks.loss(model(pictures()), a_target()))
        assert float(hooks.loss(hooks.raw(model.eval(), pictures()), a_target())) == pytest.approx(one, rel=1e-5)


def test_pictures_without_objects_cost_their_class_scores_and_nothing_else(architecture: str) -> None:
    torch.manual_seed(0)
    hooks, target = hooks_for(architecture), torch.zeros(0, 6)
    with torch.no_grad():
        outputs = criterion, predictions = hooks.raw(hooks.build(PARAMS).eval(), pictures())
        batch = {"batch_idx": target[:, 0], "cls": target[:, 1], "bboxes": target[:, 2:]}
        box, kind, distances = criterion(predictions, batch)[0].tolist()
        surprise = torch.nn.functional.softplus(predictions["scores"]).sum()  # -log(1 - probability)
        assert (box, distances) == (0, 0)
        assert kind > 0
        assert kind / len(pictures()) == pytest.approx(yolo.GAINS.cls * float(surprise), rel=1e-5)
        assert float(hooks.loss(outputs, target)) * len(pictures()) == pytest.approx(box + kind + distances, rel=1e-6)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Four pictures with a bright rectangle each, but for the last."""
    found = []
    for n in range(4):
        pixels = np.full((80, 120, 3), 60 + 10 * n, np.uint8)
        label = ""
        if n < 3:
            pixels[20:60, 30 + 10 * n : 60 + 10 * n] = (40, 200, 240)
            label = f"{n % 2} {(45 + 10 * n) / 120:.6f} 0.5 0.25 0.5\n"
        (tmp_path / f"{n}.jpg").write_bytes(to_jpeg(pixels, 95))
        (tmp_path / f"{n}.txt").write_text(label)
        found.append(Case(str(n), "train", "starter", tmp_path / f"{n}.jpg", tmp_path / f"{n}.txt"))
    return found


def test_pruned_it_is_cheaper_in_eights_exported_alike_and_built_again_from_its_weights(
    architecture: str, cases: list[Case], tmp_path: Path
) -> None:
    from training.workspace.workspace import Compression

    torch.manual_seed(0)
    hooks = hooks_for(architecture)
    dense = hooks.build(PARAMS).eval()
    options = Compression.model_validate({"sparsity": 0.5})
    pruned = TorchEngine().prune(hooks, dense, cases, dict(PARAMS), options).network
    before, after = (TorchEngine().cost(model, (3, SIZE, SIZE)) for model in (dense, pruned))
    assert after.macs < 0.45 * before.macs
    assert after.parameters < 0.45 * before.parameters
    kept = set(map(id, hooks.keep(pruned)))
    convolutions = [module for module in pruned.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(module.out_channels % 8 == 0 for module in convolutions if id(module) not in kept)
    again = TorchEngine().restore(hooks, PARAMS, TorchEngine().weights(pruned)).eval()
    batch = pictures().numpy()
    first, second = (TorchEngine().session(hooks, model)(batch) for model in (pruned, again))
    np.testing.assert_array_equal(first["predictions"], second["predictions"])
    assert first["predictions"].shape == (2, 6, 189)
    path = TorchEngine().to_onnx(hooks, pruned, (3, SIZE, SIZE), tmp_path / "pruned.onnx")
    exported = open_session(path, "onnxruntime", "f32", 1)(batch)
    np.testing.assert_allclose(exported["predictions"], first["predictions"], rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(exported["embedding"], first["embedding"], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pt"])
def test_fine_tuning_takes_over_a_weights_file_by_name_and_shape(tmp_path: Path, ending: str) -> None:
    from safetensors.numpy import save_file

    net = original("yolov8n.yaml", classes=5)  # trained on other classes: the last class layers do not fit
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    path = tmp_path / f"known{ending}"
    if ending == ".npz":
        np.savez(path, **{k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in state.items()})
    elif ending == ".pt":
        torch.save({"model": net.state_dict()}, path)
    else:
        save_file(state, path)
    hooks = hooks_for("yolov8n.yaml")
    model, taken = TorchEngine().take_over(hooks.build(PARAMS), hooks.rename(pretrained.read(path)))
    ours = model.state_dict()
    misfits = [name for name in ours if ".cv3." in name and name.endswith((".2.weight", ".2.bias"))]
    assert len(misfits) == 6
    assert taken == len(ours) - 6
    np.testing.assert_allclose(ours["model.4.cv1.conv.weight"], state["model.4.cv1.conv.weight"][32:], atol=1e-3)


def test_weights_from_the_hub_are_read_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    net = original("yolov8n.yaml")
    asked = []

    def fetch(url: str, path: str, progress: bool) -> None:
        asked.append(url)
        torch.save({"model": net.half(), "train_args": {}}, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    hooks = hooks_for("yolov8n.yaml")
    _, taken = TorchEngine().take_over(hooks.build(PARAMS), hooks.rename(hooks.hub_weights()))
    assert taken == len(hooks.build(PARAMS).state_dict())
    assert asked == [f"{yolo.HUB}yolov8n.pt"]


def test_parameters_may_name_another_architecture() -> None:
    model = hooks_for("yolov8n.yaml").build(PARAMS | {"architecture": "yolov5n.yaml"})
    assert model.state_dict().keys() == hooks_for("yolov5n.yaml").build(PARAMS).state_dict().keys()


def test_a_size_that_the_grids_do_not_divide_is_refused() -> None:
    with pytest.raises(SettingsError, match="image_size is 100"):
        hooks_for("yolov8n.yaml").input_shape({"image_size": 100})


def test_an_example_as_it_is_shows_the_picture_and_its_box(cases: list[Case]) -> None:
    scenes = mosaic.Scenes(cases, TRUTH, PARAMS, train=False, seed=3)
    x, y = scenes[1]
    assert x.shape == (3, SIZE, SIZE)
    # 120 x 80 in 96 x 96: scaled by 0.8, 16 rows of grey above.
    np.testing.assert_allclose(y.numpy(), [[1, 55 / 120, 0.5, 0.25, 40 * 0.8 / 96]], atol=1e-4)
    assert x[0, 48, round(55 * 0.8)] == pytest.approx(240 / 255, abs=0.03)
    assert x[0, 2, 2] == pytest.approx(114 / 255, abs=0.01)
    assert scenes[3][1].shape == (0, 5)


def test_augmented_boxes_still_lie_on_their_objects(cases: list[Case]) -> None:
    params = PARAMS | {"mosaic": 0.5, "hue": 0.0, "saturation": 0.0, "value": 0.0}
    scenes = mosaic.Scenes(cases, TRUTH, params, train=True, seed=3)
    seen = 0
    for epoch in range(12):
        scenes.set_epoch(epoch)
        for x, y in (scenes[n] for n in range(4)):
            bright = (x[0] > 0.8).numpy()  # red of the rectangles
            for _, cx, cy, w, h in y.numpy() * [1, SIZE, SIZE, SIZE, SIZE]:
                rows = slice(round(cy - h / 2) + 2, round(cy + h / 2) - 2)
                inside = bright[rows, round(cx - w / 2) + 2 : round(cx + w / 2) - 2]
                if inside.size:
                    seen += 1
                    assert inside.mean() > 0.95
    assert seen > 40


def test_examples_repeat_by_seed_and_epoch(cases: list[Case]) -> None:
    one, two = (mosaic.Scenes(cases, TRUTH, PARAMS, train=True, seed=3) for _ in range(2))
    first = one[0][0]
    assert torch.equal(first, two[0][0])
    two.set_epoch(2)
    assert not torch.equal(first, two[0][0])


def test_pictures_beyond_the_memory_are_read_again(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic, "MEMORY", 1)
    scenes = mosaic.Scenes(cases, TRUTH, PARAMS, train=False, seed=3)
    seen = [scenes[n][0] for n in range(4)]
    assert all(torch.equal(scenes[n][0], one) for n, one in enumerate(seen))
    for case in cases:
        case.input.unlink()
    assert torch.equal(scenes[0][0], seen[0]), "the first is remembered"
    with pytest.raises(FileNotFoundError):
        scenes[1]


def test_a_batch_numbers_the_pictures_of_its_boxes() -> None:
    blank = torch.zeros(3, 4, 4)
    x, y = mosaic.collate([(blank, torch.ones(2, 5)), (blank, torch.zeros(0, 5)), (blank, torch.ones(1, 5))])
    assert x.shape == (3, 3, 4, 4)
    assert y[:, 0].tolist() == [0, 0, 2]


def test_what_a_model_says_of_its_inputs_is_what_training_uses() -> None:
    class Own(Ultralytics):
        def preprocessing(self, params: Any) -> dict[str, Any]:
            return {**super().preprocessing(params), "own": True}

    hooks = hooks_for("yolov8n.yaml")
    hooks = yolo.YoloHooks(SimpleNamespace(network=Own(hooks.spec, "yolov8n"), classes=hooks.spec.classes))  # type: ignore[arg-type]
    assert hooks.preprocessing(PARAMS)["own"] is True
