# ruff: noqa: RUF012

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="KeyedRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("caller", models.CharField(max_length=128)),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.CharField(blank=True, max_length=64)),
                ("owner", models.CharField(max_length=32)),
                ("lease", models.DateTimeField()),
                ("created", models.DateTimeField()),
                ("status", models.IntegerField(null=True)),
                ("headers", models.JSONField(default=list)),
                ("predictions", models.TextField(blank=True)),
                ("size", models.IntegerField(default=0)),
                ("body", models.BinaryField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["created", "size"], name="keyed_by_time")],
                "constraints": [models.UniqueConstraint(fields=("caller", "key"), name="key_of_a_caller")],
            },
        ),
    ]
