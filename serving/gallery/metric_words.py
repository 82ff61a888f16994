"""What a metric means, for people who have never met it."""

from __future__ import annotations

from django.utils.translation import gettext


def meaning(metric: str) -> str:
    """One sentence, in the reader's language; empty for a metric of a model that is not ours."""
    meanings = {
        "dice": gettext("How well the mask fits the true one: 1 is a perfect fit, 0 is none."),
        "iou": gettext("The area that mask and truth share, of all that either covers: 1 is a perfect fit, 0 is none."),
        "map50": gettext(
            "How many of the true objects are found, and how few others: 1 is perfect. A box counts if half of it fits."
        ),
        "map50_95": gettext(
            "How many of the true objects are found, how few others, and how exactly the boxes fit: "
            "1 is perfect, and 0.5 is good."
        ),
        "macro_f1": gettext(
            "How often the class is right, with rare classes counting as much as common ones: 1 is always."
        ),
        "accuracy": gettext("The share of the answers that are right: 1 is all."),
        "error_rate": gettext("The share of the answers that are wrong: 0 is none."),
    }
    return meanings.get(metric, "")
