"""The table of runs. Import only after `serving.web.configuration.setup()`. Times are UTC."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy


class State(models.TextChoices):
    """Where a run is. The last three are its ends."""

    UPLOADING = "uploading", gettext_lazy("uploading")
    WAITING = "waiting", gettext_lazy("waiting")
    RUNNING = "running", gettext_lazy("running")
    DONE = "done", gettext_lazy("done")
    FAILED = "failed", gettext_lazy("failed")
    CANCELLED = "cancelled", gettext_lazy("cancelled")


class Kind(models.TextChoices):
    """What the uploaded file is, by its bytes."""

    PICTURE = "picture"
    VIDEO = "video"
    SCAN = "scan"


class Extra(models.TextChoices):
    """How far something is that a person may ask for after the run: the heat map."""

    NONE = "", ""
    WAITING = "waiting", gettext_lazy("waiting")
    DONE = "done", gettext_lazy("done")
    FAILED = "failed", gettext_lazy("failed")


ENDED = (State.DONE, State.FAILED, State.CANCELLED)
FRESH = timedelta(seconds=3)


def new_id() -> str:
    return uuid.uuid4().hex


def now() -> datetime:
    return datetime.now(UTC)


class Run(models.Model):
    """One upload and its prediction. Its files: `serving.runs.files`. Deleted after `retention_days`, or by its owner.

    Attributes:
        owner: null: an example of the gallery, which everybody may see.
        wanted: the version that was asked for; null: whichever the router chooses.
        done, total: frames of a video, else 0 of 0 or 1 of 1.
        name: of the file, as the browser gave it. A text, never a path.
        received: bytes of the upload that survive an interruption.
        media: content type of the file, by its bytes.
        start: sha256 of the first bytes, to know the file again after an interruption.
        labels: classes that were found, as "|car|person|", to filter by.
        error: why it failed: found, expected, fix.
        options: of the prediction: {"score": 0.1}.
        heatmap: how far the heat map is.
        again: id of the run that this one repeats on another version.
        shared: a part of the link for others, which ends at `shared_until`; "": there is no such link.
        queued: when it began to wait, at first or again after a failure.
        not_before: when to go on; null: at once.
        worker, lease: the process that works on it, and until when it is that one's alone.
        tries: how often a prediction was begun.
    """

    id = models.CharField(primary_key=True, max_length=32, default=new_id)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="runs")
    model = models.CharField(max_length=64)
    wanted = models.IntegerField(null=True)
    state = models.CharField(max_length=16, choices=State, default=State.UPLOADING)
    done = models.IntegerField(default=0)
    total = models.IntegerField(default=0)
    name = models.CharField(max_length=255)
    size = models.BigIntegerField()
    received = models.BigIntegerField(default=0)
    kind = models.CharField(max_length=8, choices=Kind)
    media = models.CharField(max_length=64)
    start = models.CharField(max_length=64, blank=True)
    task_id = models.CharField(max_length=32, blank=True)
    prediction_id = models.CharField(max_length=32, blank=True)
    version = models.IntegerField(null=True)
    role = models.CharField(max_length=16, blank=True)
    elapsed_ms = models.FloatField(null=True)
    labels = models.TextField(blank=True)
    error = models.JSONField(null=True)
    options = models.JSONField(default=dict)
    heatmap = models.CharField(max_length=8, choices=Extra, default=Extra.NONE, blank=True)
    again = models.CharField(max_length=32, blank=True)
    shared = models.CharField(max_length=32, blank=True)
    shared_until = models.DateTimeField(null=True)
    created = models.DateTimeField(default=now)
    queued = models.DateTimeField(null=True)
    begun = models.DateTimeField(null=True)
    finished = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    worker = models.CharField(max_length=32, blank=True)
    lease = models.DateTimeField(null=True)
    tries = models.IntegerField(default=0)

    class Meta:
        app_label = "runs"
        ordering: ClassVar = ["-created"]
        indexes: ClassVar = [
            models.Index(fields=["owner", "-created"], name="run_of_a_person"),
            models.Index(fields=["state", "not_before"], name="run_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.model} {self.state}"

    @property
    def over(self) -> bool:
        return self.state in ENDED

    @property
    def is_fresh(self) -> bool:
        """Whether it began to wait a moment ago: a picture's result may be there any moment."""
        return self.queued is not None and now() - self.queued < FRESH

    @property
    def percent(self) -> int | None:
        """How far it is, 0 to 100; None where nobody knows."""
        if self.state == State.UPLOADING:
            return 100 * self.received // max(self.size, 1)
        return 100 * self.done // self.total if self.total > 1 else None

    @property
    def classes(self) -> list[str]:
        return [one for one in self.labels.split("|") if one]

    @property
    def is_shared(self) -> bool:
        return bool(self.shared) and self.shared_until is not None and self.shared_until > now()
