"""Rows for every table of the operational database, with what engines store in different ways."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.installation import tables

JSON = {"z": 1, "a": [1.5, 2.0, 1e22, 2**60, None, True, "é\n"], "deep": {"k": {}, "b": []}, "": "x"}
BEGINNING = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


def fill(count: int = 3) -> int:
    """Adds `count` rows to each table that people's use fills. Returns how many there are."""
    from django.db import transaction
    from django.db.models.sql import InsertQuery

    used = [model for model in tables.models() if model._meta.db_table not in tables.MADE_BY_MIGRATE]
    with transaction.atomic():  # references are checked at its end
        for model in used:
            query = InsertQuery(model)  # as in the copy: times stay as they are given
            rows = [model(**_values(model, number)) for number in range(count)]
            query.insert_values(model._meta.concrete_fields, rows, raw=True)
            query.get_compiler(using=tables.HERE).execute_sql()
    return count * len(used)


def _values(model: Any, number: int) -> dict[str, Any]:
    return {field.attname: _value(field, number) for field in model._meta.concrete_fields}


def _value(field: Any, number: int) -> Any:
    if field.is_relation:
        return _value(field.target_field, number)
    kind = field.get_internal_type()
    if field.primary_key and kind in ("BigAutoField", "AutoField"):
        return number * 7 + 1
    if field.null and number == 1 and not field.primary_key and not field.unique:
        return None
    if kind in ("CharField", "TextField", "EmailField", "SlugField", "GenericIPAddressField"):
        text = f"{field.name}-{number}-é"
        return (
            "127.0.0.1" if kind == "GenericIPAddressField" else text[-field.max_length :] if field.max_length else text
        )
    made = {
        "DateTimeField": BEGINNING + timedelta(days=180 * number, microseconds=number),
        "DateField": (BEGINNING + timedelta(days=number)).date(),
        "BooleanField": number % 2 == 0,
        "FloatField": random.Random(number).uniform(-1e9, 1e9),
        "JSONField": {**JSON, "n": number},
        "BinaryField": bytes(range(256)) * (number + 1),
    }
    return made.get(kind, 2**31 - 1 - number)
