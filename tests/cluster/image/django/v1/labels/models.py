from django.db import models


class Label(models.Model):
    name = models.TextField()
    todo = models.ForeignKey("todos.Todo", models.CASCADE)
