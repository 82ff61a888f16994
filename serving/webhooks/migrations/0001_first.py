# ruff: noqa: RUF012

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.CharField(max_length=36, primary_key=True, serialize=False)),
                ("task", models.CharField(max_length=32, unique=True)),
                ("model", models.CharField(max_length=64)),
                ("key", models.CharField(max_length=12)),
                ("url", models.CharField(max_length=2000)),
                ("created", models.DateTimeField()),
                ("attempts", models.IntegerField(default=0)),
                ("due", models.DateTimeField()),
                ("outcome", models.CharField(blank=True, max_length=16)),
                ("problem", models.CharField(blank=True, max_length=256)),
            ],
            options={"indexes": [models.Index(fields=["outcome", "due"], name="webhook_by_due")]},
        ),
    ]
