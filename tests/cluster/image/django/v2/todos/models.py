"""What version 2 reads: a title is called summary now."""

from django.db import models


class Todo(models.Model):
    summary = models.TextField()
    done = models.BooleanField(default=False)
    due = models.DateField(null=True)
