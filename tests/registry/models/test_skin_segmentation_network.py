"""Training hooks: what the engine relies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from registry.models.skin_segmentation import SPEC
from registry.models.skin_segmentation.network import HOOKS as network
from registry.models.skin_segmentation.network import augment
from training.engines.engine_torch import BATCH_NORM_MOMENTUM

data = SPEC.data
PARAMS = {"image_size": 64, "decoder_channels": (32, 16, 16, 8, 8)}


def test_forward_gives_logits_and_a_pooled_embedding() -> None:
    model = network.build(PARAMS).eval()
    with torch.no_grad():
        outputs = dict(zip(network.OUTPUTS, model(torch.rand(3, *network.input_shape(PARAMS))), strict=True))
    assert outputs["mask"].shape == (3, 1, 64, 64)
    assert outputs["embedding"].shape == (3, 320)


def test_examples_repeat_for_a_seed_and_differ_between_epochs(starter: Path) -> None:
    cases = data.cases(starter)
    one, two = (network.examples(cases, PARAMS, True, 5) for _ in range(2))
    assert len(one) > len(cases), "every slice of a volume is an example"
    first, again = one[3], two[3]
    torch.testing.assert_close(first, again)
    two.set_epoch(1)
    assert not torch.equal(two[3][0], first[0])
    fresh = network.examples(cases, PARAMS, True, 5)
    fresh.set_epoch(1)
    torch.testing.assert_close(two[3], fresh[3])
    still = network.examples(cases, PARAMS, False, 5)
    torch.testing.assert_close(still[3], still[3])
    for x, y in (first, still[3]):
        assert x.shape == y.shape == (1, 64, 64)
        assert x.dtype == y.dtype == torch.float32
        assert x.min() >= 0
        assert x.max() <= 1
        assert set(np.unique(y)) == {0.0, 1.0}


def test_augmentation_moves_image_and_mask_together() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[20:44, 14:30] = 1
    rng = np.random.default_rng(0)
    for _ in range(20):
        image, moved = augment(mask.copy(), mask, rng)
        overlap = 2 * ((image > 0.5) & (moved > 0.5)).sum() / ((image > 0.5).sum() + moved.sum())
        assert overlap > 0.97


def dice_of(outputs: tuple[torch.Tensor, ...], target: torch.Tensor) -> float:
    found, true = outputs[0] > 0, target > 0.5
    return 2 * float((found & true).sum()) / float(found.sum() + true.sum())


def test_loss_and_metric_agree_on_what_is_good() -> None:
    target = (torch.rand(2, 1, 8, 8) > 0.5).float()
    good, bad = (20 * (target - 0.5),), (-20 * (target - 0.5),)
    assert network.loss(good, target) < 0.01 < 1 < network.loss(bad, target)
    for outputs, expected in ((good, 1.0), (bad, 0.0)):
        assert dice_of(outputs, target) == pytest.approx(expected)


def test_half_the_channels_can_be_pruned_away() -> None:
    pruning = pytest.importorskip("torch_pruning")
    model, x = network.build(PARAMS).eval(), torch.rand(1, 1, 64, 64)
    before = sum(p.numel() for p in model.parameters())
    pruning.pruner.MagnitudePruner(
        model,
        x,
        importance=pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        round_to=8,
        ignored_layers=network.keep(model),
    ).step()
    assert sum(p.numel() for p in model.parameters()) < 0.5 * before
    assert model(x)[0].shape == (1, 1, 64, 64)


@pytest.mark.slow
def test_it_learns_what_an_untrained_network_cannot(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data.synthesise(tmp_path, {"seed": 7, "train": 16, "val": 6, "test": 6})
    cases = data.cases(tmp_path)
    train = network.examples([c for c in cases if c.split == "train"], PARAMS, True, 1)
    held_out = network.examples([c for c in cases if c.split == "val"], PARAMS, False, 1)
    model = network.build(PARAMS)
    for norm in (one for one in model.modules() if isinstance(one, torch.nn.BatchNorm2d)):
        norm.momentum = BATCH_NORM_MOMENTUM  # as a training has it; with its own, luck decides in so few steps

    def dice() -> float:
        model.eval()
        with torch.no_grad():
            batch = torch.utils.data.default_collate(list(held_out))
            found = dice_of(model(batch[0]), batch[1])
        model.train()
        return found

    untrained = dice()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(15):
        for x, y in torch.utils.data.DataLoader(train, batch_size=8, shuffle=True, drop_last=True):
            optimiser.zero_grad()
            network.loss(model(x), y).backward()
            optimiser.step()
    assert untrained < 0.3
    assert dice() > 0.5
