"""The serving tables of the operational database: which services there are, and which of them gets the traffic.

Import only after `registry.database.setup()`. Times are UTC.
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
    pid = models.IntegerField(null=True)
    announced = models.DateTimeField()
    retired = models.DateTimeField(null=True)

    class Meta:
        app_label = "serving"
        constraints: ClassVar = [models.UniqueConstraint(fields=["model", "version"], name="endpoint_of_version")]

    def __str__(self) -> str:
        return f"{self.model} v{self.version} at {self.url}"


class Release(models.Model):
    """The release plan of one model. `all`: every request goes to `version`."""

    model = models.CharField(primary_key=True, max_length=64)
    plan = models.CharField(max_length=16, default="all")
    version = models.IntegerField()
    previous = models.IntegerField(null=True)  # what `version` took over from
    changed = models.DateTimeField()

    class Meta:
        app_label = "serving"

    def __str__(self) -> str:
        return f"{self.model}: {self.plan} to v{self.version}"
