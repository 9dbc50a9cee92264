"""What operates it: real services on one machine (`local/`), the same as containers (`compose.yaml`), migrations of
the store (`cql/`). What runs on them is the concern of `workers`; nothing of ours is imported.
"""
