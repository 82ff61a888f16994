"""A field gets the name that the API has for it; the column stays as it is."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('access', '0001_first'),
    ]

    operations = [
        migrations.AlterField('usage', 'milliseconds', models.FloatField(default=0.0, db_column='milliseconds')),
        migrations.RenameField('usage', 'milliseconds', 'elapsed_ms'),
    ]
