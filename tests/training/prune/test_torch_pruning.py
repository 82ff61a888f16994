"""Networks that change their shape or their format, and still answer the same."""

from __future__ import annotations

import logging
from pathlib import Path

import nncf  # noqa: F401  # before a test begins: pytest listens at its logger then, with the handlers of all others
import numpy as np
import pytest
import torch

from registry.contract import catalog
from registry.core.errors import BundleError
from registry.core.runtime import open_session
from tests.training.conftest import MODEL, PARAMS
from training.engines.engine_torch import TorchEngine, TorchSession
from training.export import onnx_export
from training.prune import torch_pruning
from training.workspace.checkpoint import load_weights, save_weights
from training.workspace.engine import CHANNEL_MULTIPLE

PARAMETERS = PARAMS["train"]


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    hooks = catalog.get(MODEL).network
    dense = TorchEngine().build(hooks, PARAMETERS, seed=1)
    with torch.no_grad():  # a few batches give the normalisation layers statistics that are not the trivial ones
        for _ in range(3):
            dense.train()(torch.rand(4, 1, 64, 64))
    dense.eval()
    batches = [(torch.rand(4, 1, 64, 64), torch.randint(0, 2, (4, 1, 64, 64)).float())]
    return {"dense": dense, "pruned": torch_pruning.prune(hooks, dense, (1, 64, 64), 0.5, batches)}


def test_pruning_removes_whole_channels_in_eights(networks: dict[str, torch.nn.Module]) -> None:
    before, after = (torch_pruning.cost(networks[name], (1, 64, 64)) for name in ("dense", "pruned"))
    assert after.macs < 0.7 * before.macs  # this small decoder is at its least already
    assert after.parameters < 0.45 * before.parameters
    whole = dict(networks["dense"].named_modules())
    for name, module in networks["pruned"].named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.out_channels != whole[name].out_channels:
            assert module.out_channels % CHANNEL_MULTIPLE == 0, name


def test_a_pruned_network_comes_back_from_its_weights_alone(
    networks: dict[str, torch.nn.Module], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, TorchEngine().weights(networks["pruned"]))
    again = TorchEngine().restore(catalog.get(MODEL).network, PARAMETERS, load_weights(path)).eval()
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        for found, expected in zip(again(x), networks["pruned"](x), strict=True):
            torch.testing.assert_close(found, expected)


def test_weights_of_another_network_are_refused(networks: dict[str, torch.nn.Module]) -> None:
    weights = {"unet.nowhere.weight": torch.zeros(3, 3)}
    with pytest.raises(BundleError, match="do not fit"):
        torch_pruning.reshape_like(TorchEngine().build(catalog.get(MODEL).network, PARAMETERS, seed=9), weights)


@pytest.mark.parametrize("name", ["dense", "pruned"])
def test_exports_answer_as_the_network_did(networks: dict[str, torch.nn.Module], name: str, tmp_path: Path) -> None:
    outputs = catalog.get(MODEL).network.OUTPUTS
    onnx = onnx_export.to_onnx(networks[name], outputs, (1, 64, 64), tmp_path / "n.onnx")
    ir = onnx_export.to_openvino(onnx, tmp_path / "n.xml")
    eager = TorchSession(networks[name], outputs)
    for count in (1, 3):
        batch = np.random.default_rng(count).random((count, 1, 64, 64), dtype=np.float32)
        expected = eager(batch)
        for session in (open_session(onnx, "onnxruntime", "f32", 2), open_session(ir, "openvino", "f32", 2)):
            found = session(batch)
            assert set(found) == set(outputs)
            for key in outputs:
                np.testing.assert_allclose(found[key], expected[key], rtol=1e-2, atol=2e-3)


def test_int8_is_a_quarter_of_the_size(
    networks: dict[str, torch.nn.Module], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outputs = catalog.get(MODEL).network.OUTPUTS
    ir = onnx_export.to_openvino(
        onnx_export.to_onnx(networks["dense"], outputs, (1, 64, 64), tmp_path / "n.onnx"), tmp_path / "n.xml"
    )
    batches = [np.random.default_rng(n).random((1, 1, 64, 64), dtype=np.float32) for n in range(4)]
    small = onnx_export.to_int8(ir, batches, tmp_path / "int8.xml")
    logging.getLogger("visionloop").warning("others are still heard")
    assert caplog.messages == ["others are still heard"]
    assert onnx_export.size_mb(small) < 0.5 * onnx_export.size_mb(ir)
    assert set(open_session(small, "openvino", "int8", 2)(batches[0])) == set(outputs)
