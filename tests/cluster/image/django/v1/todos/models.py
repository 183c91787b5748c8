"""What version 1 reads."""

from django.db import models


class Todo(models.Model):
    title = models.TextField()
    done = models.BooleanField(default=False)
    due = models.DateField(null=True)
