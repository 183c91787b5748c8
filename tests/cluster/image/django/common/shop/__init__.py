"""The sample platform's backend in Django."""
