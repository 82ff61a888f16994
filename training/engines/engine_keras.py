"""The training loop for Keras 3 networks on TensorFlow. It owns the loop; what is particular to a model comes as
`registry.contract.hooks.KerasHooks`.

The validation metric is scored on results: postprocess and score, as served. TensorFlow is imported when first used,
with what it says while it starts kept off the terminal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contract.hooks import KerasHooks
from registry.contract.spec import ModelSpec
from registry.core.media import Case, FloatArray
from registry.core.runtime import default_threads
from training.prune import keras_pruning
from training.workspace.checkpoint import Checkpoints
from training.workspace.course import FitResult, TrainingCourse, TrainingListener
from training.workspace.engine import Arrays, Cost, Pruned, validator
from training.workspace.keras_framework import framework
from training.workspace.rehearsal import averaged
from training.workspace.scoring import spread
from training.workspace.workspace import Compression, Recipe

NAME = "keras"
BATCH_NORM_MOMENTUM = 0.9  # at most; MobileNetV2's 0.999 averages over more steps than a training here has
IMPORTANCE_CASES = 96
CLIP_NORM = 5.0
UNDECAYED = ("bias", "gamma", "beta")


def use_threads(threads: int) -> None:
    """As `Engine.use_threads`. TensorFlow takes the number before its first operation only; later ones are void."""
    tf, _ = framework()
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads or default_threads())
        tf.config.threading.set_inter_op_parallelism_threads(1)


def build(hooks: KerasHooks, params: Mapping[str, Any], seed: int) -> Any:
    """As `Engine.build`."""
    _, keras = framework()
    keras.utils.clear_session(free_memory=False)  # names that Keras gives by counting begin anew
    keras.utils.set_random_seed(seed)
    return hooks.build(params)


def restore(hooks: KerasHooks, params: Mapping[str, Any], weights: Arrays) -> Any:
    """As `Engine.restore`."""
    return keras_pruning.reshape_like(build(hooks, params, seed=0), weights)


def take_over(network: Any, weights: Arrays) -> tuple[Any, int]:
    """As `Engine.take_over`. Names may repeat a layer's as Keras' .h5 files do: `Conv1/Conv1/kernel`."""
    given = {_plain_name(name): value for name, value in weights.items()}
    taken = 0
    for variable in network.weights:
        value = given.get(variable.path)
        if value is not None and tuple(value.shape) == tuple(variable.shape):
            variable.assign(value)
            taken += 1
    return network, taken


def _plain_name(name: str) -> str:
    """`Conv1/Conv1/depthwise_kernel` -> `Conv1/kernel`: layer and variable, as Keras 3 calls them."""
    layer, _, variable = name.removesuffix(":0").rpartition("/")
    return f"{layer.split('/')[-1]}/{variable.removeprefix('depthwise_')}"


def weights(network: Any) -> dict[str, NDArray[Any]]:
    """As `Engine.weights`: `<layer>/<variable>`, in Keras' own order of axes."""
    return {variable.path: np.array(variable) for variable in network.weights}


def session(hooks: KerasHooks, network: Any) -> KerasSession:
    """As `Engine.session`."""
    return KerasSession(network, hooks.OUTPUTS)


def cost(network: Any, shape: tuple[int, ...]) -> Cost:
    """As `Engine.cost`; `shape` must be the one that the network was built with."""
    parameters = sum(int(np.prod(variable.shape)) for variable in network.trainable_weights)
    return Cost(keras_pruning.macs(network), parameters)


def prune(
    hooks: KerasHooks, network: Any, cases: Sequence[Case], params: dict[str, Any], options: Compression
) -> Pruned:
    """As `Engine.prune`; `params["blocks"]` sets the sparsity block by block (`keras_pruning.plan`)."""
    train = spread([case for case in cases if case.split == "train"], IMPORTANCE_CASES)
    examples = hooks.examples(train, params, False, int(params["seed"]))
    blocks = params.get("blocks") or {}
    smaller = keras_pruning.prune(
        network,
        hooks.keep(network),
        options.sparsity,
        blocks,
        _batches(examples, np.arange(len(examples)), int(params["batch"])),
        hooks.loss,
    )
    apart = f", apart from {', '.join(f'{k} {v:g}' for k, v in blocks.items())}" if blocks else ""
    return Pruned(smaller, f"structured pruning, Taylor importance, Keras graph built again{apart}; then fine-tuning")


def to_onnx(hooks: KerasHooks, network: Any, shape: tuple[int, ...], path: Path) -> Path:
    """As `Engine.to_onnx`."""
    from training.export import keras_export

    return keras_export.to_onnx(network, hooks.OUTPUTS, shape, path)


def readable(state: bytes) -> bool:
    """As `Engine.readable`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        load(state)
    except SafetensorError:
        return False
    return True


def fit(
    spec: ModelSpec,
    hooks: KerasHooks,
    network: Any,
    cases: Sequence[Case],
    params: dict[str, Any],
    recipe: Recipe,
    checkpoints: Checkpoints | None = None,
    watcher: TrainingListener | None = None,
) -> FitResult:
    """As `Engine.fit`. Goes on from the checkpoint when there is one of this training.

    Raises:
        VisionloopError: the loss is not finite.
        StorageError: the checkpoint could not be written.
    """
    return _Loop(spec, hooks, network, cases, params, recipe, checkpoints, watcher).run()


def _batches(examples: Any, order: NDArray[np.int64], size: int) -> Iterator[tuple[FloatArray, NDArray[Any]]]:
    for at in range(0, len(order), size):
        rows = [examples[int(index)] for index in order[at : at + size]]
        yield np.stack([x for x, _ in rows]).astype(np.float32), np.stack([y for _, y in rows])


class _Loop:
    def __init__(
        self,
        spec: ModelSpec,
        hooks: KerasHooks,
        network: Any,
        cases: Sequence[Case],
        params: dict[str, Any],
        recipe: Recipe,
        checkpoints: Checkpoints | None,
        watcher: TrainingListener | None,
    ) -> None:
        self.tf, keras = framework()
        keras.utils.set_random_seed(recipe.seed)
        self.recipe, self.hooks, self.model = recipe, hooks, network
        norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
        self.kept = norms if recipe.keep_statistics else []
        for layer in norms:
            layer.momentum = min(layer.momentum, BATCH_NORM_MOMENTUM)
        for layer in self.kept:
            layer.trainable = False  # as Keras has it, its scale and shift stay, too
        self.optimizer = keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, global_clipnorm=CLIP_NORM
        )
        self.optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
        self.optimizer.build(network.trainable_variables)
        train = [case for case in cases if case.split == "train"]
        self.train_set = hooks.examples(train, params, True, recipe.seed)
        self.score = validator(spec, hooks, cases, params)
        self.predict = session(hooks, network)
        self.step = self._compiled()
        steps = max(1, len(self.train_set) // recipe.batch)  # an epoch; the rest is drawn in another one
        self.course = TrainingCourse(spec, recipe, steps, checkpoints, watcher)
        self.best: dict[str, NDArray[Any]] = {}
        self.before = {name: value.copy() for name, value in weights(network).items()} if recipe.average else {}

    def _compiled(self) -> Callable[[Any, Any], Any]:
        tf, model, optimizer, loss = self.tf, self.model, self.optimizer, self.hooks.loss
        variables = model.trainable_variables
        values = [variable.value for variable in variables]

        @tf.function(reduce_retracing=True)
        def step(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                value = loss(model(x, training=True), y)
            optimizer.apply(tape.gradient(value, values), variables)
            return value

        return step  # type: ignore[no-any-return]

    def run(self) -> FitResult:
        resumed_at = self.resume()
        self.course.begin()
        while self.course.goes_on():
            for x, y in self.batches():
                self.optimizer.learning_rate.assign(self.course.rate)
                self.course.stepped(float(self.step(self.tf.constant(x), self.tf.constant(y))))
            self.course.close(self.score(self.predict), None, self.state)
        ended = averaged(self.best, self.before, self.recipe.average) if self.before else self.best
        for variable in self.model.weights:
            variable.assign(ended[variable.path])
        for layer in self.kept:
            layer.trainable = True
        device = "cuda" if self.tf.config.list_physical_devices("GPU") else "cpu"
        return FitResult(self.model, self.course.progress, device, resumed_at)

    def batches(self) -> Iterator[tuple[FloatArray, NDArray[Any]]]:
        """Batches of this epoch: the order depends on the seed and the epoch only, so a resumed run sees the same."""
        epoch = self.course.progress.epoch
        self.train_set.set_epoch(epoch)
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.train_set))
        if len(order) >= self.recipe.batch:
            order = order[: self.course.steps * self.recipe.batch]
        return _batches(self.train_set, order, self.recipe.batch)

    def _variables(self) -> dict[str, Any]:
        """All that a step changes: weights, the state of random layers, the optimizer's moments."""
        own = {f"model/{n}": variable for n, variable in enumerate(self.model.variables)}
        return own | {f"optimizer/{n}": variable for n, variable in enumerate(self.optimizer.variables)}

    def state(self, better: bool) -> bytes:
        from safetensors.numpy import save

        if better:
            self.best = weights(self.model)
        now = {name: np.array(variable) for name, variable in self._variables().items()}
        return save(now | {f"best/{name}": value for name, value in self.best.items()})

    def resume(self) -> int:
        """Takes up the checkpoint, if there is a whole one; the epoch it was written after, else 0."""
        from safetensors.numpy import load

        found = self.course.checkpoints.load()
        if found is None or not readable(found[1]):
            return 0
        self.course.progress, state = found[0], load(found[1])
        for name, variable in self._variables().items():
            variable.assign(state[name])
        self.best = {name.removeprefix("best/"): v for name, v in state.items() if name.startswith("best/")}
        return self.course.progress.epoch


class KerasSession:
    """A network that is not exported yet, called like a `registry.core.runtime.Session`: the graph that TensorFlow
    runs."""

    def __init__(self, model: Any, outputs: Sequence[str]) -> None:
        tf, _ = framework()
        self.outputs = outputs
        height, width, channels = model.inputs[0].shape[1:]
        signature = [tf.TensorSpec((None, channels, height, width), tf.float32)]
        self._run = tf.function(
            lambda image: model(tf.transpose(image, (0, 2, 3, 1)), training=False), input_signature=signature
        )

    def __call__(self, batch: FloatArray) -> dict[str, FloatArray]:
        return {name: np.array(value) for name, value in zip(self.outputs, self._run(batch), strict=True)}
