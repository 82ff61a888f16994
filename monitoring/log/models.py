"""The monitoring tables of the operational database: predictions, feedback and verdicts.

Import only after `registry.core.database.setup()`. Times are UTC; sizes of arrays are in the field's comment.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Prediction(models.Model):
    """One answered (or refused) request. Rows come from `monitoring.log.writer` in bulk and are never changed."""

    id = models.CharField(primary_key=True, max_length=32)
    time = models.DateTimeField()
    model = models.CharField(max_length=64)
    version = models.IntegerField()
    role = models.CharField(max_length=16)
    caller = models.CharField(max_length=128, blank=True)
    latency_ms = models.FloatField()
    outcome = models.CharField(max_length=64)  # "ok", or the class of the error
    status = models.IntegerField()
    image_statistics = models.JSONField(default=dict)
    prediction_statistics = models.JSONField(default=dict)
    embedding = models.BinaryField(default=bytes)  # see monitoring.log.embedding
    input_suffix = models.CharField(max_length=16, blank=True)

    class Meta:
        app_label = "monitoring"
        indexes: ClassVar = [
            models.Index(fields=["model", "version", "-time"], name="prediction_by_version"),
            models.Index(fields=["-time"], name="prediction_by_time"),
            models.Index(fields=["caller", "-time"], name="prediction_by_caller"),
        ]

    def __str__(self) -> str:
        return f"{self.model} v{self.version} {self.id} {self.outcome}"


class Answer(models.Model):
    """What a prediction answered, in a table of its own, so that queries of predictions need not read it."""

    prediction = models.OneToOneField(Prediction, on_delete=models.CASCADE, primary_key=True, related_name="answer")
    time = models.DateTimeField()  # of the prediction
    size = models.IntegerField()  # of `sealed`, bytes
    content = models.TextField()  # JSON in the clear, of rows from before `sealed`; else empty
    sealed = models.BinaryField(null=True)  # encrypted JSON, see monitoring.log.answers

    class Meta:
        app_label = "monitoring"
        indexes: ClassVar = [models.Index(fields=["time", "size"], name="answer_by_time")]

    def __str__(self) -> str:
        return f"answer of {self.prediction_id}"


class Feedback(models.Model):
    """The truth of a prediction, given later. A second label for the same prediction replaces the first."""

    prediction = models.OneToOneField(Prediction, on_delete=models.CASCADE, related_name="feedback")
    time = models.DateTimeField()
    source = models.CharField(max_length=128, blank=True)  # who or what gave it
    truth_text = models.CharField(max_length=256, blank=True)  # labels that are a word
    truth_file = models.CharField(max_length=256, blank=True)  # labels that are a file, relative to var
    score = models.FloatField(null=True)  # of the version that predicted; null: not scored yet
    problem = models.TextField(blank=True)  # why it cannot be scored, or not be learnt from
    # Whether a drift report had named this prediction before its label came: such labels are no random sample.
    suggested = models.BooleanField(default=False, db_default=False)
    origin = models.CharField(max_length=64, blank=True, default="", db_default="")  # of the case that it became
    learned_by = models.IntegerField(null=True)  # the first version that was trained with it

    class Meta:
        app_label = "monitoring"
        indexes: ClassVar = [models.Index(fields=["-time"], name="feedback_by_time")]

    def __str__(self) -> str:
        return f"truth of {self.prediction_id} from {self.source}"


class Verdict(models.Model):
    """A verdict on one window of a version's predictions."""

    id = models.CharField(primary_key=True, max_length=32)
    time = models.DateTimeField()
    model = models.CharField(max_length=64)
    version = models.IntegerField()
    window_start = models.DateTimeField(null=True)
    window_end = models.DateTimeField(null=True)
    predictions = models.IntegerField()
    labels = models.IntegerField()
    drifted = models.BooleanField()
    action = models.CharField(max_length=16)
    why = models.TextField()
    kinds = models.JSONField(default=dict)  # {"data": true, ...}
    finding = models.JSONField(default=dict)  # statistics, thresholds, p-values
    responsible = models.JSONField(default=list)  # prediction ids, the most responsible first
    folder = models.CharField(max_length=256, blank=True)  # of the report, relative to var

    class Meta:
        app_label = "monitoring"
        indexes: ClassVar = [models.Index(fields=["model", "-time"], name="verdict_by_model")]

    def __str__(self) -> str:
        return f"{self.model} v{self.version} {self.action}"
