"""A planted fault, put into every process by PYTHONPATH: in a tagger no photo can be decoded any more."""

from __future__ import annotations

import sys

if "tagger" in sys.orig_argv:
    from PIL import Image, UnidentifiedImageError

    def _broken(*_: object, **__: object) -> None:
        raise UnidentifiedImageError("planted: no codec")

    Image.open = _broken  # type: ignore[assignment]
