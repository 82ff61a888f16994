"""The table of requests with an idempotency key. Import only after `registry.core.database.setup()`. Times are UTC."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class KeyedRequest(models.Model):
    """A request with a key, and its answer once there is one."""

    caller = models.CharField(max_length=128)
    key = models.CharField(max_length=255)
    # sha256 of what was asked, hex; empty while a streamed body is still coming in.
    fingerprint = models.CharField(max_length=64, blank=True)
    owner = models.CharField(max_length=32)  # id of the attempt that works on it, or did
    lease = models.DateTimeField()  # until then an unanswered one is being worked on
    created = models.DateTimeField()
    status = models.IntegerField(null=True)  # HTTP status of the answer; null: there is none yet
    headers = models.JSONField(default=list)  # pairs of names and values
    predictions = models.TextField(blank=True)  # ids of those in the answer, with blanks between
    size = models.IntegerField(default=0)  # of the answer's body, bytes
    body = models.BinaryField(null=True)  # encrypted; null: larger than is kept

    class Meta:
        app_label = "idempotency"
        constraints: ClassVar = [models.UniqueConstraint(fields=["caller", "key"], name="key_of_a_caller")]
        indexes: ClassVar = [models.Index(fields=["created", "size"], name="keyed_by_time")]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}: {self.status}"
