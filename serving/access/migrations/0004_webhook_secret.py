# ruff: noqa: RUF012

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("access", "0003_rotation")]

    operations = [
        migrations.AddField(
            "key", "webhook_secret", models.CharField(blank=True, db_default="", default="", max_length=64)
        ),
    ]
