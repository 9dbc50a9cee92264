"""The HTTP side of the search service: its routes, their parameters, and who may use them. `app.py` puts it
together."""
