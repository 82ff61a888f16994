"""A picture is predicted once, also where the process that asked was killed before it wrote the answer down."""

from __future__ import annotations

import httpx

from registry.core import database
from registry.vision.picture import to_jpeg
from tests.clips import scene
from tests.serving.runs.asking import over, upload
from tests.waiting import until

PICTURE = to_jpeg(scene(11, 160, 120))


def test_the_next_process_gets_the_answer_that_the_killed_one_did_not_write(anna: httpx.Client, detector: str) -> None:
    from monitoring.log.models import Prediction
    from serving.idempotency.models import KeyedRequest
    from serving.runs import tokens
    from serving.runs.asking import Router
    from serving.runs.models import Run, State

    identity = upload(anna, detector, "once.jpg", PICTURE)
    assert over(anna, identity)["state"] == "done"
    database.renew_connection()
    run = until(lambda: Run.objects.filter(id=identity).first())
    assert not KeyedRequest.objects.filter(key__startswith=identity).exists(), "the page has the answer"
    router, token = Router(), tokens.token_of(run)
    killed = router.predict(run, token)["id"]  # and then nothing is written
    assert KeyedRequest.objects.filter(key__startswith=identity).count() == 1
    again = {"state": State.RUNNING, "worker": "killed", "lease": run.created, "prediction_id": ""}
    Run.objects.filter(id=identity).update(**again)
    assert over(anna, identity)["state"] == "done"
    database.renew_connection()
    assert Run.objects.get(id=identity).prediction_id == killed
    until(lambda: Prediction.objects.filter(id=killed).exists())
    caller = Prediction.objects.get(id=killed).caller
    assert Prediction.objects.filter(caller=caller, model=detector).order_by("-time").first().id == killed
    router.close()
