"""The HTTP side of the search service: routes, what they accept, and who may ask."""
