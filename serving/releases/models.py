"""The serving tables of the operational database: services, release plans with their history, and traffic counts.

Import only after `registry.core.database.setup()`. Times are UTC.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Endpoint(models.Model):
    """A service of one version that answers somewhere, or did until it was retired."""

    id = models.BigAutoField(primary_key=True)
    model = models.CharField(max_length=64)
    version = models.IntegerField()
    url = models.CharField(max_length=256)  # e.g. http://127.0.0.1:40123, no slash at the end
    tag = models.CharField(max_length=128)  # of the Bento
    announced = models.DateTimeField()
    retired = models.DateTimeField(null=True)
    problem = models.TextField(blank=True, db_default="")  # why it could not be started again
    anyway = models.TextField(blank=True, db_default="")  # why it was released though the gate had not granted it

    class Meta:
        app_label = "serving"
        constraints: ClassVar = [models.UniqueConstraint(fields=["model", "version"], name="endpoint_of_version")]

    def __str__(self) -> str:
        return f"{self.model} v{self.version} at {self.url}"


class Release(models.Model):
    """The release plan of one model, with the fields of `serving.releases.plans.Plan`, which code works with.

    Some columns keep the names that they had in earlier versions.
    """

    model = models.CharField(primary_key=True, max_length=64)
    kind = models.CharField(max_length=16, default="all", db_column="plan")
    live = models.IntegerField(db_column="version")
    previous = models.IntegerField(null=True)
    changed = models.DateTimeField()
    second = models.IntegerField(null=True, db_column="challenger")
    share = models.IntegerField(default=0)
    sticky = models.CharField(max_length=16, default="request")
    steps = models.JSONField(default=list)
    limits = models.JSONField(default=dict)  # serving.releases.plans.Limits
    state = models.CharField(max_length=16, default="running")
    since = models.DateTimeField(null=True)
    why = models.TextField(blank=True)
    revision = models.IntegerField(default=0)
    guardrails = models.JSONField(null=True, db_column="rails")  # how those of this revision stand; the guard writes it

    class Meta:
        app_label = "serving"

    def __str__(self) -> str:
        return f"{self.model}: {self.kind} to v{self.live}"


class ReleaseOrder(models.Model):
    """A change of a release plan that needs a service started first. The guard carries it out.

    `serving.releases.orders` works with it. Rows stay, as a record.
    """

    id = models.BigAutoField(primary_key=True)
    time = models.DateTimeField()
    deadline = models.DateTimeField()  # carried out before it, or not at all
    model = models.CharField(max_length=64)
    what = models.CharField(max_length=16)  # as of ReleaseEvent
    version = models.IntegerField()  # whose service is needed
    tag = models.CharField(max_length=128)  # of its Bento
    fields = models.JSONField(default=dict, db_column="columns")  # of Release; empty: all traffic for `version`
    revision = models.IntegerField(default=0)  # of the plan that it is meant for; 0: there was none
    who = models.CharField(max_length=128)
    why = models.TextField(blank=True)
    anyway = models.TextField(blank=True)  # as of Endpoint
    state = models.CharField(max_length=16, default="waiting")  # waiting, starting, done, failed
    error = models.JSONField(default=dict)  # VisionloopError.to_json(), of a failed one
    outcome = models.IntegerField(null=True)  # the plan's revision after it

    class Meta:
        app_label = "serving"
        indexes: ClassVar = [models.Index(fields=["model", "state"], name="order_by_model")]

    def __str__(self) -> str:
        return f"{self.model}: {self.what} of v{self.version}, {self.state}"


class ReleaseEvent(models.Model):
    """One change of a release plan, and who wanted it. Rows are never changed."""

    id = models.BigAutoField(primary_key=True)
    time = models.DateTimeField()
    model = models.CharField(max_length=64)
    what = models.CharField(max_length=16)  # release, canary, step, shadow, ab, promote, rollback, verdict
    who = models.CharField(max_length=128)
    why = models.TextField(blank=True)
    live = models.IntegerField(db_column="version")  # from then on
    second = models.IntegerField(null=True, db_column="challenger")
    share = models.IntegerField(default=0)
    page = models.CharField(max_length=256, blank=True)  # the decision page, relative to var
    decision = models.JSONField(null=True)  # what the page says
    todo = models.JSONField(null=True)  # what is still to be written to MLflow, see flows.orchestration.guard

    class Meta:
        app_label = "serving"
        indexes: ClassVar = [models.Index(fields=["model", "-time"], name="event_by_model")]

    def __str__(self) -> str:
        return f"{self.model}: {self.what} by {self.who}"


class Traffic(models.Model):
    """What one router sent to one version in one role, in one minute of one revision of the plan."""

    id = models.BigAutoField(primary_key=True)
    router = models.CharField(max_length=32)
    model = models.CharField(max_length=64)
    version = models.IntegerField()
    role = models.CharField(max_length=16)
    revision = models.IntegerField()
    minute = models.DateTimeField()
    calls = models.IntegerField(default=0)
    errors = models.IntegerField(default=0)  # no answer, or one of 500 and above
    refused = models.IntegerField(db_default=0)  # answered with 429; in the table's default, for routers of before
    retried = models.IntegerField(default=0)  # of errors and refused ones, those that were asked elsewhere
    dropped = models.IntegerField(default=0)  # shadow copies that were not sent
    compared = models.IntegerField(default=0)  # shadow answers that could be compared
    disagreed = models.IntegerField(default=0)
    agreement = models.FloatField(default=0.0)  # the sum over the compared ones
    latencies = models.JSONField(default=dict)  # see serving.router.traffic.Latencies

    class Meta:
        app_label = "serving"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["router", "model", "version", "role", "revision", "minute"], name="traffic_of_a_minute"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["model", "-minute"], name="traffic_by_model")]

    def __str__(self) -> str:
        return f"{self.model} v{self.version} as {self.role}: {self.calls} calls"
