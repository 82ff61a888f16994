"""What somebody takes along: also the answers of predictions with an API key, and the labels."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from monitoring.log import answers


def test_the_zip_has_the_answers_and_labels_of_own_predictions_alone(home: Path) -> None:
    from monitoring.log.models import Answer, Feedback, Prediction
    from serving.accounts import keys, own_data
    from serving.accounts.models import User

    user = User.objects.create_user("me@example.org", "Blauer-Reiter-1911")
    caller, now = keys.create(user, "my notebook")[0].caller, datetime.now(UTC)
    shared = {"time": now, "model": "m", "version": 1, "role": "live", "latency_ms": 1, "outcome": "ok", "status": 200}
    for name, whose in (("mine", caller), ("lost", caller), ("another", "vl_0123456789ab")):
        row = Prediction.objects.create(id=name, caller=whose, **shared)
        sealed = answers.seal(name if name != "lost" else "moved", b'{"class": "quince"}')
        Answer.objects.create(prediction=row, time=now, size=9, content="", sealed=sealed)
        Feedback.objects.create(prediction=row, time=now, truth_text="pear")
    with zipfile.ZipFile(io.BytesIO(b"".join(own_data.export(user)))) as archive:
        lines = [json.loads(line) for line in archive.read("predictions.jsonl").splitlines()]
    found = {one["id"]: (one["answer"], one["label"]) for one in lines}
    assert found == {"mine": ({"class": "quince"}, "pear"), "lost": (None, "pear")}
