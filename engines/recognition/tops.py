"""A head's best labels alone, for back ends that do not send all of them: a GPU, over its bus.

Such a back end gives `<output>.values` float32 [n, k], the greatest raw probabilities, best first, and
`<output>.indices` int32 [n, k], their labels, in place of `<output>`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from schemas.manifest import Head

VALUES, INDICES = ".values", ".indices"

Arrays = Mapping[str, npt.NDArray[np.generic]]


def is_cut(head: Head, top_k: int) -> bool:
    """Whether a head's best `top_k` labels are enough for its predictions.

    One table calibrates the whole head and does not fall, so the best raw probabilities hold the best calibrated ones.
    A head with a table of its own for some label needs all of them: that label may rise past the others.
    """
    return len(head.labels) > top_k and not head.class_calibration


def widen(outputs: Arrays, expected: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Raw outputs at full width, to be compared with `expected`, the exported ones of the same photos.

    A label that was not sent stands at what is expected of it, but not above the least value that was sent: more it
    cannot have. So a label that is wrongly missing differs by as much as it is better than the one in its place.
    """
    wide = {name: array for name, array in outputs.items() if not name.endswith((VALUES, INDICES))}
    for name, array in outputs.items():
        if not name.endswith(VALUES):
            continue
        head = name.removesuffix(VALUES)
        values, indices = array.astype(np.float32), outputs[head + INDICES].astype(np.int64)
        full = np.minimum(expected[head].astype(np.float32), values[:, -1:])
        np.put_along_axis(full, indices, values, axis=1)
        wide[head] = full
    return wide
