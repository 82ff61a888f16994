# ruff: noqa: RUF012

from django.db import migrations, models


class Migration(migrations.Migration):
    """Only adds a column: services that were packaged before write their answers as they did."""

    dependencies = [("monitoring", "0003_answers")]

    operations = [migrations.AddField("answer", "sealed", models.BinaryField(null=True))]
