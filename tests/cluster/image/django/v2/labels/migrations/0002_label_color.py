from django.db import migrations, models


class Migration(migrations.Migration):
    # On a migration of another application: that one cannot go back before this one has.
    dependencies = [("labels", "0001_initial"), ("todos", "0003_rename_title")]
    operations = [migrations.AddField("Label", "color", models.TextField(default="grey"))]
