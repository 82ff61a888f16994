"""Fine-tuning a champion on few new cases without forgetting the many old ones.

The labelled predictions of a verdict are a small part of a data set. Mixed with the rest they hardly count in a short
training; alone they make the network forget (experience replay, Rolnick 2019, arXiv:1811.11682). So new cases are
repeated until they make up a given share of an epoch. Each repetition is augmented differently.

The result may be averaged with the champion (WiSE-FT, Wortsman 2022, arXiv:2109.01903). The loss is low on the way from
a network to its fine-tuned version, so averaging recovers much of what was forgotten and costs little.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.core.media import Case

NEW_SHARE = 0.25
"""Share of new cases in an epoch, unless `retrain.new_share` in params.yaml says otherwise."""


def with_new_cases_repeated(cases: Sequence[Case], known: Collection[str], share: float) -> list[Case]:
    """All cases, with new cases of the train split repeated until they are about `share` of it.

    A case is new if its origin is not in `known`. If there are enough new cases already, or only new ones, or none, the
    cases are returned as they are. Cases of other splits are never repeated.
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
    """The weighted mean of both: `share` of the champion. Integers, such as counters, are taken from `tuned`."""
    return {
        name: ((1 - share) * value + share * champion[name]).astype(value.dtype)
        if np.issubdtype(value.dtype, np.floating)
        else value
        for name, value in tuned.items()
    }
