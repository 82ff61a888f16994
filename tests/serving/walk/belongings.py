"""Everything that one person can have, and other people: in a process of its own, as `tests.serving.people`."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.core.settings import settings
from registry.vision.picture import to_jpeg
from tests.clips import scene
from tests.conftest import PROJECT
from tests.serving.people import session_of

MODEL = "object_detection"
PICTURE = to_jpeg(scene(9, 160, 120), 91)
OTHERS = ("other", "viewer", "operator", "administrator")


@dataclass(frozen=True)
class Somebody:
    """An account: the key of its session, and an API key that may do all that the account may."""

    session: str
    token: str


@dataclass(frozen=True)
class Walkers:
    """Who walks, and what they may not reach.

    Attributes:
        people: by name: the owner and `OTHERS`.
        values: of the owner, what stands in an address for a parameter, e.g. "run": the id of a result.
        secrets: what must be in no answer to others, by name.
        known: of those, what lists of the back office show: who asked what, and when.
    """

    people: dict[str, Somebody]
    values: dict[str, str]
    secrets: dict[str, str]
    known: tuple[str, ...] = ("address", "key", "key name", "prediction")


def make() -> Walkers:
    """The people, new ones each time, and the owner's things."""
    env = {**settings().child_environment(), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "tests.serving.walk.belongings"]
    made = subprocess.run(command, env=env, cwd=settings().root, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    people = {name: Somebody(**one) for name, one in found["people"].items()}
    return Walkers(people, found["values"], found["secrets"])


def _walkers() -> Walkers:
    from serving.accounts import keys
    from serving.accounts.models import User

    mark, people = secrets.token_hex(8), {}
    for name in OTHERS:
        address = f"{name}-{mark}@example.org"
        session = session_of(f"{name.replace('other', '')}:{address}", confirmed=True)
        user = User.objects.get(email=address)
        people[name] = Somebody(session, keys.create(user, name, actions=keys.actions_for(user))[1])
    address = f"owner-{mark}@example.org"
    session = session_of(address, confirmed=True)
    user = User.objects.get(email=address)
    found = {
        name: f"{name.replace(' ', '-')}-{secrets.token_hex(8)}" for name in ("file", "class", "label", "key name")
    }
    key, token = keys.create(user, found["key name"])
    prediction, run = _predicted(user, key.caller, found)
    values = {"prediction": prediction, "run": run.id, "key": key.id, "task": _task(key.caller, found["class"])}
    values |= _of_account(user, found)
    values["ended link"], values["model"] = _link_of(run), MODEL
    hidden = {"token": token, "address": address, "session": session}
    hidden |= {name: values[name] for name in ("run", "prediction", "task", "key")}
    return Walkers({**people, "owner": Somebody(session, token)}, values, {**found, **hidden})


def _of_account(user: Any, found: dict[str, str]) -> dict[str, str]:
    """A second session, a message and a security key; their numbers."""
    from allauth.mfa.models import Authenticator
    from allauth.usersessions.models import UserSession

    from serving.accounts.models import Message

    found["message"], found["factor"] = f"message-{secrets.token_hex(8)}", f"factor-{secrets.token_hex(8)}"
    key, text = secrets.token_hex(16), found["message"]
    session = UserSession.objects.create(user=user, ip="127.0.0.1", user_agent="x", session_key=key, data={})
    message = Message.objects.create(user=user, email="x@example.org", subject="subject", text=text, language="en")
    data = {"name": found["factor"], "credential": {}}
    factor = Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=data)
    return {"session": str(session.pk), "message": str(message.pk), "factor number": str(factor.pk)}


def _predicted(user: Any, caller: str, found: dict[str, str]) -> tuple[str, Any]:
    """A prediction in the log with its answer and label, and a result of the gallery. Returns id and run."""
    from monitoring.log.models import Answer, Feedback, Prediction
    from serving.runs import files
    from serving.runs.models import Run, State, new_id

    now, number = datetime.now(UTC), new_id()
    answer = {"class": found["class"], "detections": [], "width": 160, "height": 120}
    row = Prediction.objects.create(
        id=number, time=now, model=MODEL, version=1, role="live", caller=caller, latency_ms=3, outcome="ok", status=200
    )
    Answer.objects.create(prediction=row, time=now, size=9, content=json.dumps(answer))
    Feedback.objects.create(prediction=row, time=now, source=caller, truth_text=found["label"])
    fields = {"model": MODEL, "kind": "picture", "media": "image/jpeg", "version": 1, "prediction_id": number}
    run = Run(**fields, owner=user, state=State.DONE, name=f"{found['file']}.jpg", size=len(PICTURE), finished=now)
    run.received, run.labels = len(PICTURE), f"|{found['class']}|"
    run.shared, run.shared_until = new_id(), now - timedelta(hours=1)
    for name in (files.INPUT, files.ANNOTATED, files.THUMBNAIL):
        files.write(run.id, name, PICTURE)
    files.write(run.id, files.ANSWER, json.dumps({**answer, "id": number, "model": MODEL, "version": 1}).encode())
    run.save(force_insert=True)
    return number, run


def _link_of(run: Any) -> str:
    """The secret part of the link to a result. It ended an hour ago."""
    from serving.runs.downloads import share_token

    return share_token(run)


def _task(caller: str, found: str) -> str:
    """A task that is done."""
    from serving.runs.models import new_id
    from serving.tasks import task_files
    from serving.tasks.models import Task

    now, number, owner = datetime.now(UTC), new_id(), new_id()
    task_files.write(task_files.result_file(number, owner), json.dumps({"class": found}).encode())
    shared = {"version": 1, "role": "live", "wants": {}, "inputs": 1, "several": False, "media": "application/json"}
    ended = {"state": "done", "owner": owner, "created": now, "finished": now}
    Task.objects.create(id=number, model=MODEL, caller=caller, **shared, **ended)
    return number


if __name__ == "__main__":
    from serving.web import configuration

    configuration.setup()
    print(json.dumps(asdict(_walkers())))
