"""The same, with something that has no way back."""

from django.db import migrations


def tidy(apps, schema_editor):
    for todo in apps.get_model("todos", "Todo").objects.all():
        todo.summary = todo.summary.strip()
        todo.save()


class Migration(migrations.Migration):
    dependencies = [("todos", "0002_todo_due")]
    operations = [migrations.RenameField("Todo", "title", "summary"), migrations.RunPython(tidy)]
