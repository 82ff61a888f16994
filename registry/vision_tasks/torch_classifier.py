"""What classifiers in PyTorch share: their loss and their head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from registry.contract.hooks import TorchHooks
from registry.vision_tasks.classifier_hooks import SMOOTHING, ClassifierHooks


class TorchClassifier(ClassifierHooks, TorchHooks):
    """Hooks of a network whose first output is the logits, float32 [N, C]. `build` is left to the network."""

    HEAD = "head"
    """Name of the linear layer that gives the logits."""

    def head(self) -> tuple[str, ...]:
        return f"{self.HEAD}.weight", f"{self.HEAD}.bias"

    def loss(self, outputs: tuple[Tensor, ...], target: Tensor) -> Tensor:
        return functional.cross_entropy(outputs[0].float(), target, label_smoothing=SMOOTHING)

    def keep(self, model: nn.Module) -> list[nn.Module]:
        """The head: its units are the classes."""
        return [model.get_submodule(self.HEAD)]
