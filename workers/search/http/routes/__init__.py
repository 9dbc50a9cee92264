"""The routes of the search service, a module for each kind of question."""
