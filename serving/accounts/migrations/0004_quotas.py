from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("accounts", "0003_append_only_audit")]

    operations = [
        migrations.AddField("user", name, models.BigIntegerField(null=True, blank=True))
        for name in ("per_minute", "per_month")
    ]
