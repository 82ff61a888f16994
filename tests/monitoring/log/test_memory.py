"""A verdict on ten thousand predictions, labels scored on the way, in less than a gigabyte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from monitoring.feedback import performance
from monitoring.log import embedding, inputs
from registry.core.files import write_file
from registry.core.settings import settings
from registry.versions.bundle import Bundle
from registry.versions.predictor import Predictor
from tests.bundles import MODEL
from tests.monitoring.scans import mask, scans

ROWS, LABELS = 10_000, 40
LOOK = """
import sys
from pathlib import Path
from monitoring.report import watch
from registry.versions.bundle import open_bundle
verdict = watch.make_verdict(sys.argv[1], 1, open_bundle(Path(sys.argv[2])), last=100_000)
# Not ru_maxrss, which the process has from the one that started it.
status = Path("/proc/self/status").read_text()
print(verdict.predictions, verdict.labels, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def test_a_window_of_10_000_is_scored_and_judged_below_1_gb(operational: Path, bundle: Bundle) -> None:
    from datetime import UTC, datetime, timedelta

    from monitoring.log.models import Prediction

    body = scans(1)[0]
    one, now = Predictor(bundle, threads=1)(body), datetime.now(UTC)
    vector = embedding.pack(one.embedding)
    Prediction.objects.bulk_create(
        (
            Prediction(
                id=f"{n:032x}", time=now - timedelta(seconds=n), model=MODEL, version=1, role="live", latency_ms=1,
                outcome="ok", status=200, image_statistics=one.image_statistics,
                prediction_statistics=one.prediction_statistics, embedding=vector, input_suffix=".nii.gz",
            )
            for n in range(ROWS)
        ),
        batch_size=500,
    )  # fmt: skip
    for row in Prediction.objects.order_by("-time")[:LABELS]:
        write_file(inputs.path_of(MODEL, row.time.timestamp(), row.id, row.input_suffix), body)
        performance.give_label(row.id, mask(), "me")
    argv = [sys.executable, "-c", LOOK, MODEL, str(bundle.path)]
    out = subprocess.run(argv, env=settings().child_environment(), capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    rows, labels, peak_mb = map(int, out.stdout.split())
    assert (rows, labels) == (ROWS, LABELS)
    assert peak_mb < 1000
