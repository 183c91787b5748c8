from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Todo",
            fields=[
                ("id", models.AutoField(primary_key=True)),
                ("title", models.TextField()),
                ("done", models.BooleanField(default=False)),
            ],
        ),
    ]
