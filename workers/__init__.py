"""What runs: `tagger` (listing → predictions and hashes), `indexer` (hash → index), `search` (photo → listings).

The ports that they stream through live here too: `streams` (log), `stores` (rows), `intake` (photos from outside), with
what all workers share: `metrics` (each declared once), `serving` (health and HTTP). How predictions are computed is
the concern of `engines`, how a process is started that of `groknet`.
"""
