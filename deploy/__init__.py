"""Real services on one machine (`local/`) or as containers (`compose.yaml`), and the store's migrations (`cql/`).

`workers` run on these services. This room imports nothing of ours.
"""
