# ruff: noqa: RUF012

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0002_labels_and_what_became_of_them")]

    operations = [
        migrations.CreateModel(
            name="Answer",
            fields=[
                (
                    "prediction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="answer",
                        serialize=False,
                        to="monitoring.prediction",
                    ),
                ),
                ("time", models.DateTimeField()),
                ("size", models.IntegerField()),
                ("content", models.TextField()),
            ],
            options={"indexes": [models.Index(fields=["time", "size"], name="answer_by_time")]},
        ),
    ]
