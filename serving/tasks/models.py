"""The table of tasks. Import only after `registry.core.database.setup()`. Times are UTC."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Task(models.Model):
    """One submitted request; its files lie in `var/tasks/<id>/`."""

    id = models.CharField(primary_key=True, max_length=32)  # uuid4, hex
    model = models.CharField(max_length=64)
    # The version that it was submitted to. Another one works on it only when that one is no longer served.
    version = models.IntegerField()
    caller = models.CharField(max_length=128, blank=True)  # who submitted it, where the router requires keys
    role = models.CharField(max_length=16)
    wants = models.JSONField()  # fields of serving.wire.negotiation.ResponseFormat
    inputs = models.IntegerField()  # files input-0, input-1, ...
    several = models.BooleanField()
    # Of the files, as a form gave them. Null: submitted to a service from before there were names.
    names = models.JSONField(default=list, null=True)
    state = models.CharField(max_length=16)  # queued, running, done, failed, cancelled
    done = models.IntegerField(default=0)  # frames of a video, else inputs
    total = models.IntegerField(default=0)
    attempts = models.IntegerField(default=0)
    owner = models.CharField(max_length=32, blank=True)  # id of the process that works on it
    lease = models.DateTimeField(null=True)  # until then it belongs to the owner; then anybody may take it
    media = models.CharField(max_length=64, blank=True)  # of the result
    headers = models.JSONField(default=dict)  # of the result
    error = models.JSONField(null=True)
    created = models.DateTimeField()
    begun = models.DateTimeField(null=True)
    finished = models.DateTimeField(null=True)

    class Meta:
        app_label = "tasks"
        indexes: ClassVar = [models.Index(fields=["model", "state", "created"])]

    def __str__(self) -> str:
        return f"{self.id} {self.model} {self.state}"
