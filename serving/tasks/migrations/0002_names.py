from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tasks", "0001_first")]

    operations = [
        migrations.AddField("task", "names", models.JSONField(default=list, null=True)),
    ]
