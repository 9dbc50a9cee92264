"""Maps keys to partitions as Kafka's default partitioner does, so that a move to Kafka keeps every key's partition."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """The unsigned 32-bit MurmurHash2 of `data` with Kafka's seed (Austin Appleby; Kafka's `Utils.murmur2`)."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition number of a key, from 0 to `partitions` - 1."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
