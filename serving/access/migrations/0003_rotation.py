# ruff: noqa: RUF012

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("access", "0002_elapsed_ms")]

    operations = [
        migrations.AddField("key", "old_digest", models.CharField(blank=True, db_default="", default="", max_length=64)),
        migrations.AddField("key", "old_until", models.DateTimeField(null=True)),
    ]
