"""The pages: whether it is well, and the todos."""

import os

from django.http import JsonResponse
from django.urls import path
from todos.models import Todo


def health(request):
    return JsonResponse({"status": "healthy", "version": os.environ["VERSION"]})


def todos(request):
    return JsonResponse(list(Todo.objects.order_by("id").values()), safe=False)


urlpatterns = [path("health", health), path("todos", todos)]
