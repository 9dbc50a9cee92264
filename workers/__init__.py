"""The workers: `tagger` (listing → predictions and hashes), `indexer` (hashes → index), `search` (photo → listings).

`stages` has what is done to one event; the tagger and the `backfill` use it. `streams` (the log), `stores` (the rows)
and `intake` (photos) connect the workers to the outside. All workers share `metrics` (each is declared once) and
`serving` (health and HTTP). `engines` computes predictions, and `groknet` starts the processes.
"""
