"""What computes: bytes to pixels, pixels to predictions and hashes, hashes to neighbours.

Each package is one small interface and its back ends, imported only by the `build_*` function that chooses them.
No Kafka, no database, no network and no torch live here; of our own rooms only `schemas` is imported.
"""

__all__: list[str] = []
