"""The table of webhooks. Import only after `registry.core.database.setup()`. Times are UTC."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Delivery(models.Model):
    """A call that is due when its task is over."""

    id = models.CharField(primary_key=True, max_length=36)  # of the message: msg_ and 32 hex digits
    task = models.CharField(max_length=32, unique=True)
    model = models.CharField(max_length=64)
    key = models.CharField(max_length=12)  # id of the key whose secret signs
    url = models.CharField(max_length=2000)
    created = models.DateTimeField()
    attempts = models.IntegerField(default=0)
    due = models.DateTimeField()  # of the next attempt, once the task is over
    outcome = models.CharField(max_length=16, blank=True)  # delivered, failed; empty: not yet
    problem = models.CharField(max_length=256, blank=True)  # of the last attempt

    class Meta:
        app_label = "webhooks"
        indexes: ClassVar = [models.Index(fields=["outcome", "due"], name="webhook_by_due")]

    def __str__(self) -> str:
        return f"{self.id} of task {self.task}: {self.outcome or self.attempts}"
