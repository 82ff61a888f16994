# ruff: noqa: RUF012

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0001_first")]

    operations = [
        migrations.AddField("feedback", "suggested", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("feedback", "origin", models.CharField(blank=True, db_default="", default="", max_length=64)),
        migrations.AddField("feedback", "learned_by", models.IntegerField(null=True)),
    ]
