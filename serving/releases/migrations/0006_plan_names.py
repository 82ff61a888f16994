"""Fields get the names of `serving.releases.plans.Plan`; the columns stay as they are."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('serving', '0005_rails'),
    ]

    operations = [
        migrations.AlterField('release', 'plan', models.CharField(max_length=16, default='all', db_column='plan')),
        migrations.RenameField('release', 'plan', 'kind'),
        migrations.AlterField('release', 'version', models.IntegerField(db_column='version')),
        migrations.RenameField('release', 'version', 'live'),
        migrations.AlterField('release', 'challenger', models.IntegerField(null=True, db_column='challenger')),
        migrations.RenameField('release', 'challenger', 'second'),
        migrations.AlterField('releaseevent', 'version', models.IntegerField(db_column='version')),
        migrations.RenameField('releaseevent', 'version', 'live'),
        migrations.AlterField('releaseevent', 'challenger', models.IntegerField(null=True, db_column='challenger')),
        migrations.RenameField('releaseevent', 'challenger', 'second'),
        migrations.AlterField('releaseorder', 'columns', models.JSONField(default=dict, db_column='columns')),
        migrations.RenameField('releaseorder', 'columns', 'fields'),
    ]
