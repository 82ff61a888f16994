"""How a champion learns from few new cases without forgetting the many old ones.

A verdict's labelled predictions are a percent of a data set. Shuffled in among the rest they hardly count in a short
training, and alone they would make the network forget (experience replay, Rolnick 2019, arXiv:1811.11682). So the new
cases are repeated until they are a stated share of an epoch; each repetition is augmented anew.

What comes of it may be averaged with the champion (WiSE-FT, Wortsman 2022, arXiv:2109.01903): on the way from a network
to its fine-tuning the loss is low, and much of what was forgotten comes back for little of what was learned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.core.media import Case

NEW_SHARE = 0.25
"""Of an epoch, where params.yaml's `retrain.new_share` says nothing."""


def with_new_cases_repeated(cases: Sequence[Case], known: Collection[str], share: float) -> list[Case]:
    """All cases, the new ones of the train split so often that they are about `share` of that split.

    A case is new when its origin is not among the `known` ones. Where the new ones are that many already, where all are
    new, or none is, the cases come back as they are. Held-out cases are never repeated.
    """
    train = [case for case in cases if case.split == "train"]
    new = [case for case in train if case.origin not in known]
    old = len(train) - len(new)
    if not new or not old:
        return list(cases)
    times = round(share / (1 - share) * old / len(new))
    return [*cases, *(case for _ in range(times - 1) for case in new)]


def averaged(
    tuned: Mapping[str, NDArray[Any]], champion: Mapping[str, NDArray[Any]], share: float
) -> dict[str, NDArray[Any]]:
    """Weights of which `share` are the champion's; counters and other whole numbers are as tuned."""
    return {
        name: ((1 - share) * value + share * champion[name]).astype(value.dtype)
        if np.issubdtype(value.dtype, np.floating)
        else value
        for name, value in tuned.items()
    }
