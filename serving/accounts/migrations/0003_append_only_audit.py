"""The database itself refuses to change or delete a line of the audit trail, whoever asks."""

from django.db import migrations

_SQLITE = (
    """CREATE TRIGGER audit_line_{what} BEFORE {what} ON accounts_auditline
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"""
)
_POSTGRESQL = """
CREATE FUNCTION audit_line_is_final() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$;
CREATE TRIGGER audit_line_final BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts_auditline
    FOR EACH STATEMENT EXECUTE FUNCTION audit_line_is_final();
"""


def _protect(apps, editor):
    if editor.connection.vendor == "sqlite":
        for what in ("UPDATE", "DELETE"):
            editor.execute(_SQLITE.format(what=what))
    elif editor.connection.vendor == "postgresql":
        editor.execute(_POSTGRESQL)


def _open(apps, editor):
    if editor.connection.vendor == "sqlite":
        for what in ("UPDATE", "DELETE"):
            editor.execute(f"DROP TRIGGER audit_line_{what}")
    elif editor.connection.vendor == "postgresql":
        editor.execute("DROP TRIGGER audit_line_final ON accounts_auditline")
        editor.execute("DROP FUNCTION audit_line_is_final()")


class Migration(migrations.Migration):

    dependencies = [("accounts", "0002_keys_letters_messages")]

    operations = [migrations.RunPython(_protect, _open)]
