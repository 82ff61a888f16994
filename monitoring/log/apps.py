"""Django's name for this room: the tables were made under it."""

from django.apps import AppConfig


class Tables(AppConfig):
    name = "monitoring.log"
    label = "monitoring"
