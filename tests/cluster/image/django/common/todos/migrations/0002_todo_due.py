from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("todos", "0001_initial")]
    operations = [migrations.AddField("Todo", "due", models.DateField(null=True))]
