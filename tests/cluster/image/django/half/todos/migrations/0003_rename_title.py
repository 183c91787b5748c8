"""The same, with something whose way back fails when it is gone."""

from django.db import migrations


def keep(apps, schema_editor):
    pass


def shorten(apps, schema_editor):
    raise RuntimeError("summaries may be longer than titles were: this migration cannot be undone")


class Migration(migrations.Migration):
    dependencies = [("todos", "0002_todo_due")]
    operations = [migrations.RenameField("Todo", "title", "summary"), migrations.RunPython(keep, shorten)]
