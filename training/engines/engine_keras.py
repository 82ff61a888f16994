"""The engine of Keras 3 networks on TensorFlow, which is imported when it is first used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.contract.hooks import Examples, KerasHooks, Weights
from registry.core.media import Case, FloatArray
from registry.core.runtime import default_threads
from training.prune import keras_pruning
from training.workspace.checkpoint import Arrays
from training.workspace.engine import Cost, Engine, Pruned, Trainer
from training.workspace.keras_framework import framework
from training.workspace.parameters import Compression, Recipe
from training.workspace.scoring import representative_cases

BATCH_NORM_MOMENTUM = 0.9  # at most; MobileNetV2's 0.999 averages over more steps than a training here has
IMPORTANCE_CASES = 96
CLIP_NORM = 5.0
UNDECAYED = ("bias", "gamma", "beta")


class KerasEngine(Engine[KerasHooks]):
    """See `Engine`. Weights are named `<layer>/<variable>` and have Keras' own order of axes."""

    name = "keras"

    def use_threads(self, threads: int) -> None:
        """TensorFlow takes the number before its first operation; later calls change nothing."""
        tf, _ = framework()
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads or default_threads())
            tf.config.threading.set_inter_op_parallelism_threads(1)

    def build(self, hooks: KerasHooks, params: Mapping[str, Any], seed: int) -> Any:
        _, keras = framework()
        keras.utils.clear_session(free_memory=False)  # names that Keras gives by counting begin anew
        keras.utils.set_random_seed(seed)
        return hooks.build(params)

    def restore(self, hooks: KerasHooks, params: Mapping[str, Any], weights: Weights) -> Any:
        return keras_pruning.reshape_like(self.build(hooks, params, seed=0), weights)

    def take_over(self, network: Any, weights: Weights) -> tuple[Any, int]:
        """Names may repeat a layer's as Keras' .h5 files do: `Conv1/Conv1/kernel`."""
        given = {_plain_name(name): value for name, value in weights.items()}
        taken = 0
        for variable in network.weights:
            value = given.get(variable.path)
            if value is not None and tuple(value.shape) == tuple(variable.shape):
                variable.assign(value)
                taken += 1
        return network, taken

    def weights(self, network: Any) -> Arrays:
        return {variable.path: np.array(variable) for variable in network.weights}

    def trainer(
        self, hooks: KerasHooks, network: Any, cases: Sequence[Case], params: Mapping[str, Any], recipe: Recipe
    ) -> KerasTrainer:
        return KerasTrainer(hooks, network, cases, params, recipe)

    def session(self, hooks: KerasHooks, network: Any) -> KerasSession:
        return KerasSession(network, hooks.OUTPUTS)

    def cost(self, network: Any, shape: tuple[int, ...]) -> Cost:
        """`shape` must be the one that the network was built with."""
        parameters = sum(int(np.prod(variable.shape)) for variable in network.trainable_weights)
        return Cost(keras_pruning.macs(network), parameters)

    def prune(
        self,
        hooks: KerasHooks,
        network: Any,
        cases: Sequence[Case],
        params: Mapping[str, Any],
        options: Compression,
    ) -> Pruned:
        """`params["blocks"]` sets another sparsity for some layers (`keras_pruning.plan`)."""
        train = representative_cases([case for case in cases if case.split == "train"], IMPORTANCE_CASES)
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
        return Pruned(
            smaller, f"structured pruning, Taylor importance, Keras graph built again{apart}; then fine-tuning"
        )

    def to_onnx(self, hooks: KerasHooks, network: Any, shape: tuple[int, ...], path: Path) -> Path:
        from training.export import keras_export

        return keras_export.to_onnx(network, hooks.OUTPUTS, shape, path)


class KerasTrainer(Trainer):
    """See `Trainer`."""

    def __init__(
        self, hooks: KerasHooks, network: Any, cases: Sequence[Case], params: Mapping[str, Any], recipe: Recipe
    ) -> None:
        self.tf, keras = framework()
        keras.utils.set_random_seed(recipe.seed)
        self.recipe, self.hooks, self.model = recipe, hooks, network
        norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
        for layer in norms:
            layer.momentum = min(layer.momentum, BATCH_NORM_MOMENTUM)
        self.frozen = norms if recipe.keep_statistics else []
        for layer in self.frozen:
            layer.trainable = False  # in Keras this also keeps its scale and shift
        self.optimizer = keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, global_clipnorm=CLIP_NORM
        )
        self.optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
        self.optimizer.build(network.trainable_variables)
        self.train_set = hooks.examples(cases, params, True, recipe.seed)
        self.examples = len(self.train_set)
        self.device = "cuda" if self.tf.config.list_physical_devices("GPU") else "cpu"
        self._session = KerasSession(network, hooks.OUTPUTS)
        self._learn = self._compiled()

    def _compiled(self) -> Callable[[Any, Any], Any]:
        tf, model, optimizer, loss = self.tf, self.model, self.optimizer, self.hooks.loss
        variables = model.trainable_variables
        values = [variable.value for variable in variables]

        @tf.function(reduce_retracing=True)
        def learn(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                value = loss(model(x, training=True), y)
            optimizer.apply(tape.gradient(value, values), variables)
            return value

        return learn  # type: ignore[no-any-return]

    def batches(self, epoch: int) -> Iterator[tuple[FloatArray, NDArray[Any]]]:
        self.train_set.set_epoch(epoch)
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(self.examples)
        whole = max(1, self.examples // self.recipe.batch) * self.recipe.batch
        return _batches(self.train_set, order[:whole], self.recipe.batch)

    def step(self, batch: tuple[FloatArray, NDArray[Any]], rate: float) -> float:
        self.optimizer.learning_rate.assign(rate)
        x, y = batch
        return float(self._learn(self.tf.constant(x), self.tf.constant(y)))

    def predict(self, batch: FloatArray) -> dict[str, FloatArray]:
        return self._session(batch)

    def _variables(self) -> dict[str, Any]:
        """All that a step changes: weights, the state of random layers, the optimizer's moments."""
        own = {f"model/{n}": variable for n, variable in enumerate(self.model.variables)}
        return own | {f"optimizer/{n}": variable for n, variable in enumerate(self.optimizer.variables)}

    def state(self) -> Arrays:
        return {name: np.array(variable) for name, variable in self._variables().items()}

    def load(self, state: Arrays) -> None:
        for name, variable in self._variables().items():
            variable.assign(state[name])

    def finish(self, weights: Weights) -> Any:
        for variable in self.model.weights:
            variable.assign(weights[variable.path])
        for layer in self.frozen:
            layer.trainable = True
        return self.model


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


def _plain_name(name: str) -> str:
    """`Conv1/Conv1/depthwise_kernel` -> `Conv1/kernel`: layer and variable, as Keras 3 calls them."""
    layer, _, variable = name.removesuffix(":0").rpartition("/")
    return f"{layer.split('/')[-1]}/{variable.removeprefix('depthwise_')}"


def _batches(examples: Examples, order: NDArray[np.int64], size: int) -> Iterator[tuple[FloatArray, NDArray[Any]]]:
    for at in range(0, len(order), size):
        rows = [examples[int(index)] for index in order[at : at + size]]
        yield np.stack([x for x, _ in rows]).astype(np.float32), np.stack([y for _, y in rows])
