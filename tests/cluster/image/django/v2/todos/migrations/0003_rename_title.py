from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("todos", "0002_todo_due")]
    operations = [migrations.RenameField("Todo", "title", "summary")]
