"""A prediction is deleted with all that is kept of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest

from serving.access import keys
from tests.bundles import AFFINE, MODEL, make_scan
from tests.serving.access.conftest import bearer, known

RAW = {"Content-Type": "application/gzip"}


@pytest.fixture(scope="module")
def token(guarded: str) -> str:
    return known(guarded, keys.create("forgets")[1])


def _predicted(router: str, token: str, seed: int = 1) -> str:
    answer = httpx.post(
        f"{router}/v1/models/{MODEL}/predict", content=make_scan(seed), headers={**RAW, **bearer(token)}, timeout=30
    )
    return str(answer.headers["x-prediction-id"])


def _delete(router: str, number: str, token: str) -> httpx.Response:
    return httpx.delete(f"{router}/v1/predictions/{number}", headers=bearer(token), timeout=30)


def _files(project: Path, number: str) -> list[Path]:
    return list((project / "var" / "inputs").rglob(f"{number}*"))


def _rows(number: str) -> list[Any]:
    from monitoring.log.models import Answer, Feedback, Prediction

    tables = ((Prediction, "id"), (Answer, "prediction_id"), (Feedback, "prediction_id"))
    return [row for table, key in tables for row in table.objects.filter(**{key: number})]


def test_input_answer_label_and_row_are_gone(live: str, token: str, other: str, project: Path) -> None:
    number = _predicted(live, token)
    mask = bytes(nib.Nifti1Image(np.ones((64, 48, 2), dtype=np.uint8), AFFINE).to_bytes())
    address = f"{live}/v1/predictions/{number}"
    labelled = httpx.post(f"{address}/feedback", files={"file": mask}, headers=bearer(token), timeout=30)
    assert labelled.status_code == 200
    assert len(_files(project, number)) == 2
    assert len(_rows(number)) == 3
    assert _delete(live, number, other).status_code == 404, "somebody else's"
    answer = _delete(live, number, token)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"id": number, "input": True, "answer": True, "label": True, "case": None}
    assert _files(project, number) == []
    assert _rows(number) == []
    assert _delete(live, number, token).status_code == 404


def test_an_admin_deletes_anybodys_and_one_of_another_model_does_not(live: str, token: str, admin: str) -> None:
    number = _predicted(live, token)
    fruit = known(live, keys.create("admin of fruit", actions=["admin"], models=["fruit_features"])[1])
    blind = known(live, keys.create("predicts only", actions=["predict"])[1])
    assert _delete(live, number, fruit).status_code == 404
    assert _delete(live, number, blind).status_code == 403
    assert _delete(live, number, admin).json()["label"] is False


def test_an_input_does_not_come_after_its_deletion(live: str, token: str, project: Path) -> None:
    """Deleted as soon as the log has it, while others are written down."""
    deleted: list[str] = []

    def one(seed: int) -> None:
        number = _predicted(live, token, seed)
        assert _delete(live, number, token).status_code == 200
        deleted.append(number)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _predicted(live, token)  # the log has written what it had
    assert len(deleted) == 8
    assert [path for number in deleted for path in _files(project, number)] == []
