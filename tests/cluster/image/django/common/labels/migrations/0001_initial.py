from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [("todos", "0001_initial")]
    operations = [
        migrations.CreateModel(
            name="Label",
            fields=[
                ("id", models.AutoField(primary_key=True)),
                ("name", models.TextField()),
                ("todo", models.ForeignKey("todos.Todo", models.CASCADE)),
            ],
        ),
    ]
