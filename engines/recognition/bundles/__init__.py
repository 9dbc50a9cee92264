"""A bundle on disk: loading it, comparing two, and checking that a back end computes what was exported."""
