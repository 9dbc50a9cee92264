"""The weekly report on drift: figures from Prometheus, compared with the bundle's baseline, as one HTML page.

Prometheus is asked, and not the store, for three reasons. It has the history, while the store has only the newest
state of each listing and nothing of removed ones. It knows searches. And reading counters of a week takes milliseconds,
while a scan of a large table is a load on the store.
"""
