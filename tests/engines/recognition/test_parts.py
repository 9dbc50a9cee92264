"""A batch in parts: the same rows in the same order, and no call larger than a part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine, load_bundle
from engines.recognition.onnx_runtime import OnnxRuntime
from engines.recognition.parts import InParts, part_size, usable_cores
from tests.engines.tiny_bundle import SIZE, raw_outputs


class Counted:
    """A real back end that notes the size of each call."""

    def __init__(self, folder: Path) -> None:
        self.inner = OnnxRuntime(load_bundle(folder), 1)
        self.sizes: list[int] = []
        self.closed = False

    def run(self, photos: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(photos))
        return self.inner.run(photos)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (4, [4]), (5, [4, 1]), (11, [4, 4, 3])])
def test_parts_give_the_rows_of_the_whole_batch(tiny: Path, count: int, sizes: list[int]) -> None:
    photos = np.random.default_rng(3).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    counted = Counted(tiny)
    parts = InParts(counted, 4)
    got, expected = parts.run(photos), raw_outputs(tiny, photos)
    assert counted.sizes == sizes
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, atol=1e-5)
    parts.close()
    assert counted.closed


@pytest.mark.parametrize(("threads", "size"), [(1, 4), (2, 4), (8, 8), (64, 16)])
def test_a_part_has_a_photo_for_each_thread_within_bounds(threads: int, size: int) -> None:
    assert part_size(threads) == size
    assert part_size(None) == part_size(usable_cores())


def test_an_engine_in_parts_takes_more_photos_than_a_part(tiny: Path) -> None:
    photos = np.random.default_rng(3).integers(0, 256, (32, SIZE, SIZE, 3), dtype=np.uint8)
    for backend in ("onnxruntime", "openvino"):
        engine = build_engine(tiny, backend, threads=1)
        np.testing.assert_array_equal(engine.infer(photos).hash, raw_outputs(tiny, photos)["hash"])
        engine.close()
