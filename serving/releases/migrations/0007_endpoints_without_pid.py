"""A service's process number is nobody's business but the supervisor's. The column stays, for routers of before."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('serving', '0006_plan_names'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField('endpoint', 'pid')]),
    ]
