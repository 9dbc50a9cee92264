"""Cleaning of crawled photos against planted truth, and at size."""
