"""Only a head's best labels, for back ends that do not return all of them, such as a GPU over its bus.

Instead of `<output>`, such a back end returns `<output>.values` float32 [n, k], the greatest raw probabilities, best
first, and `<output>.indices` int32 [n, k], their labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from schemas.manifest import Head

VALUES, INDICES = ".values", ".indices"

Arrays = Mapping[str, npt.NDArray[np.generic]]


def is_cut(head: Head, top_k: int) -> bool:
    """Return whether a head's best `top_k` labels are enough for its predictions.

    If one table calibrates the whole head, the table never descends, so the best raw probabilities include the best
    calibrated ones. If a label has a table of its own, it may overtake the others, so all labels are needed.
    """
    return len(head.labels) > top_k and not head.class_calibration


def widen(outputs: Arrays, expected: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Return raw outputs [n, width] at full width, for a comparison with `expected` [n, width], the exported outputs of
    the same photos. Heads are float32; the other outputs keep their dtype.

    A label that was not returned gets its expected value, but at most the smallest value that was returned, which it
    cannot exceed. So a label that is wrongly missing differs by as much as it is better than the label in its place.
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
