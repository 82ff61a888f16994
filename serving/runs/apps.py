"""Django's entry: tells accounts that runs keep things of people."""

from __future__ import annotations

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "serving.runs"
    label = "runs"

    def ready(self) -> None:
        from serving.accounts import own_data
        from serving.runs.own_data import Runs

        own_data.HOLDERS.append(Runs())
