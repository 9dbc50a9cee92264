"""The coded size of HEVC and AV1 pictures, which a file's boxes may contradict. Decoders allocate what is coded.

Sources: ITU-T H.265, 7.3.2.2 (sequence parameter set); AV1 bitstream specification, 5.5 (sequence header).
"""

from __future__ import annotations


class Bits:
    """Reads bits from the most significant on. Raises EOFError at the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise EOFError
        return (self._value >> self._left) & ((1 << count) - 1)

    def golomb(self) -> int:
        """Return an unsigned Exp-Golomb number below 2^32."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise EOFError
        return (1 << zeros) - 1 + self.take(zeros)


def hevc_size(unit: bytes) -> tuple[int, int, float]:
    """Return width, height and bytes of a pixel in the planes, from a sequence parameter set with its NAL header.

    Raises:
        EOFError: it ends too early.
    """
    bits = Bits(unit[2:514].replace(b"\0\0\3", b"\0\0"))  # without the bytes that keep start codes out
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 96)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.golomb()
    chroma = bits.golomb()
    if chroma == 3:
        bits.take(1)
    width, height = bits.golomb(), bits.golomb()
    if bits.take(1):
        for _ in range(4):
            bits.golomb()
    deep = max(bits.golomb(), bits.golomb()) > 0
    return width, height, {0: 1.0, 1: 1.5, 2: 2.0}.get(chroma, 3.0) * (2 if deep else 1)


def av1_size(header: bytes) -> tuple[int, int, float]:
    """Return the largest width and height, and bytes of a pixel in the planes, from the body of a sequence header.

    Raises:
        EOFError: it ends too early.
    """
    bits = Bits(header[:256])
    profile = bits.take(3)
    bits.take(1)
    if bits.take(1):  # a reduced header of a still picture
        bits.take(5)
    else:
        _operating_points(bits)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(across) + 1, bits.take(down) + 1, 3.0 if profile == 0 else 6.0  # two bytes a sample at most


def _operating_points(bits: Bits) -> None:
    model = delay = 0
    if bits.take(1):
        bits.take(64)
        if bits.take(1):
            bits.golomb()
        model = bits.take(1)
        if model:
            delay = bits.take(5) + 1
            bits.take(32 + 10)
    display = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if model and bits.take(1):
            bits.take(2 * delay + 1)
        if display and bits.take(1):
            bits.take(4)
