"""The role of the version that gets the traffic is `live`; it was called `champion`, which is the registry's alias."""

from django.db import migrations


def rename(apps, schema_editor):
    apps.get_model("serving", "Traffic").objects.filter(role="champion").update(role="live")


class Migration(migrations.Migration):

    dependencies = [
        ('serving', '0008_guardrails'),
    ]

    operations = [migrations.RunPython(rename, migrations.RunPython.noop)]
