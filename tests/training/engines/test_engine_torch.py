"""The loop: plan, resume, stop."""

from __future__ import annotations

import pytest
import torch

from registry.core.errors import VisionloopError
from tests.training.conftest import Make
from training.engines.engine_torch import TorchEngine, TorchTrainer
from training.engines.loop import fit
from training.workspace.checkpoint import Checkpoints
from training.workspace.course import LAST_RATE, FitResult, TrainingListener, learning_rate
from training.workspace.workspace import Recipe, Workspace

RECIPE = Recipe(epochs=10, batch=8, learning_rate=1.0, warm_up=0.2, max_seconds=60)


def run(
    stage: Workspace, checkpoints: Checkpoints | None = None, listener: TrainingListener | None = None
) -> FitResult:
    TorchEngine().use_threads(2)
    model = TorchEngine().build(stage.spec.network, stage.params, stage.recipe().seed)
    hooks, recipe = stage.spec.network, stage.recipe()
    return fit(TorchEngine(), stage.spec, hooks, model, stage.cases, stage.params, recipe, checkpoints, listener)


def test_the_rate_rises_then_falls() -> None:
    rates = [learning_rate(n / 100, RECIPE) for n in range(101)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 20
    assert rates[0] < 0.1
    assert rates[100] == pytest.approx(LAST_RATE)
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_a_resumed_training_ends_like_one_that_was_never_interrupted(make_stage: Make) -> None:
    stage = make_stage(train={"epochs": 2})
    whole = run(stage)

    def interrupt(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    folder = stage.folder("train")
    with pytest.raises(KeyboardInterrupt):
        run(stage, Checkpoints(folder, "same"), TrainingListener(epoch=interrupt))
    resumed = run(stage, Checkpoints(folder, "same"))

    assert resumed.resumed_at == 1
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)


def test_the_state_is_copied_only_where_a_checkpoint_is_kept(make_stage: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the weights three times: the network, and the optimizer's two moments."""
    stage, copied, state = make_stage(train={"epochs": 2}), [], TorchTrainer.state
    monkeypatch.setattr(TorchTrainer, "state", lambda trainer: copied.append(trainer) or state(trainer))
    run(stage)
    assert not copied
    run(stage, Checkpoints(stage.folder("train"), "one"))
    assert len(copied) == 2


def test_a_checkpoint_of_another_training_is_not_taken(make_stage: Make) -> None:
    stage = make_stage(train={"epochs": 1})
    run(stage, Checkpoints(stage.folder("train"), "one"))
    assert Checkpoints(stage.folder("train"), "one").load() is not None
    assert Checkpoints(stage.folder("train"), "two").load() is None


def test_a_damaged_checkpoint_is_not_taken(make_stage: Make) -> None:
    stage = make_stage(train={"epochs": 1})
    stage.folder("train").mkdir(parents=True)
    checkpoint = stage.folder("train") / "checkpoint"
    checkpoint.write_bytes(b"PK\x03\x04 half a file")
    assert Checkpoints(stage.folder("train"), "one").load() is None
    run(stage, Checkpoints(stage.folder("train"), "one"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    assert run(stage, Checkpoints(stage.folder("train"), "one")).resumed_at == 0


def test_time_ends_the_training(make_stage: Make) -> None:
    fitted = run(make_stage(train={"epochs": 500, "patience": 500, "max_seconds": 1.0}))
    assert fitted.progress.stopped == "time"
    assert fitted.progress.epoch < 20
    assert fitted.history[-1]["learning_rate"] < 0.005


def test_no_progress_ends_the_training(make_stage: Make) -> None:
    fitted = run(make_stage(train={"epochs": 40, "patience": 2, "learning_rate": 1e-12}))
    assert fitted.progress.stopped == "early"
    assert fitted.progress.epoch == fitted.progress.best_epoch + 2


def test_a_loss_that_is_not_finite_stops_it(make_stage: Make) -> None:
    with pytest.raises(VisionloopError, match="learning_rate"):
        run(make_stage(train={"epochs": 5, "learning_rate": 1e30}))


def test_batch_norm_may_keep_its_statistics_and_the_end_lie_between(make_stage: Make) -> None:
    stage = make_stage(train={"epochs": 1, "keep_statistics": True, "average": 0.5})
    before = TorchEngine().build(stage.spec.network, stage.params, stage.recipe().seed).state_dict()
    halfway = run(stage).model.state_dict()
    whole = run(make_stage(train={"epochs": 1, "keep_statistics": True})).model.state_dict()
    moved = {name for name, value in whole.items() if not torch.equal(value, before[name])}
    assert len(moved) > len(whole) / 4
    assert not any("running_" in name or "num_batches" in name for name in moved)
    for name in moved:
        torch.testing.assert_close(halfway[name], (before[name] + whole[name]) / 2)
