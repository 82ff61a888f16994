"""A field gets a name that explains itself; the column stays as it is."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('serving', '0007_endpoints_without_pid'),
    ]

    operations = [
        migrations.AlterField('release', 'rails', models.JSONField(null=True, db_column='rails')),
        migrations.RenameField('release', 'rails', 'guardrails'),
    ]
