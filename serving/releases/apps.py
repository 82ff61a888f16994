"""The Django app of this room. The tables were made under its label."""

from django.apps import AppConfig


class Tables(AppConfig):
    name = "serving.releases"
    label = "serving"
