"""The sample platform's backend with a database of its own."""
