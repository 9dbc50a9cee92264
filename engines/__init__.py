"""What computes: bytes to pixels, pixels to predictions and hashes, hashes to neighbours.

`pixels` decodes photos, `recognition` runs the network, `similarity` is the index, and `gpu` is the CUDA driver that
the first two share. Each has one small interface. A back end is imported only by the function that chooses it. This
room uses no Kafka, no database and no network, and of our own rooms it imports only `schemas`.
"""

__all__: list[str] = []
