"""The tables of keys and of their usage. Times are UTC.

Import only after `registry.core.database.setup()`.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Key(models.Model):
    """An API key, without its secret. Keys are revoked, never deleted: their usage refers to them."""

    id = models.CharField(primary_key=True, max_length=12)
    name = models.CharField(max_length=64)
    owner = models.CharField(max_length=128)
    digest = models.CharField(max_length=64)  # sha256 of the secret, hex
    model_names = models.JSONField(default=list)  # ["*"]: all
    actions = models.JSONField(default=list)  # see serving.access.keys.ACTIONS
    per_minute = models.IntegerField(null=True)  # null: as the setting says; 0: no limit
    per_month = models.IntegerField(null=True)
    created = models.DateTimeField()
    expires = models.DateTimeField(null=True)
    revoked = models.DateTimeField(null=True)
    # Of the secret before the last rotation, and until when it is still valid.
    old_digest = models.CharField(max_length=64, blank=True, default="", db_default="")
    old_until = models.DateTimeField(null=True)
    webhook_secret = models.CharField(max_length=64, blank=True, default="", db_default="")
    # Grows by one with every change of any key. It is unique, so that changes commit in this order: a router that has
    # seen 7 cannot miss a 6 that comes later.
    serial = models.BigIntegerField(unique=True)

    class Meta:
        app_label = "access"

    def __str__(self) -> str:
        return f"vl_{self.id} {self.name}"


class Usage(models.Model):
    """Usage of one model by one key on one day. Routers add to it; `key` is "" for callers without a key."""

    key = models.CharField(max_length=12, blank=True)
    model = models.CharField(max_length=64, blank=True)  # empty: what concerns no model, e.g. /v1/usage
    day = models.DateField()
    requests = models.BigIntegerField(default=0)  # let through, answered with whatever status
    errors = models.BigIntegerField(default=0)  # of the requests: answered with 400 or more
    refused = models.BigIntegerField(default=0)  # over quota; not among the requests
    bytes_in = models.BigIntegerField(default=0)
    bytes_out = models.BigIntegerField(default=0)
    elapsed_ms = models.FloatField(default=0.0, db_column="milliseconds")  # summed

    class Meta:
        app_label = "access"
        constraints: ClassVar = [models.UniqueConstraint(fields=["key", "model", "day"], name="usage_of_a_day")]
        indexes: ClassVar = [models.Index(fields=["day"], name="usage_by_day")]

    def __str__(self) -> str:
        return f"{self.key or 'anonymous'} {self.model} {self.day}: {self.requests}"


class Batch(models.Model):
    """A flush that is in `Usage`. Both commit together, so that a repeated flush is not counted twice."""

    id = models.CharField(primary_key=True, max_length=32)
    time = models.DateTimeField()

    class Meta:
        app_label = "access"
        indexes: ClassVar = [models.Index(fields=["time"], name="batch_by_time")]

    def __str__(self) -> str:
        return self.id
