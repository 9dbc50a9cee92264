"""A planted fault, put into every process by PYTHONPATH: in a tagger no photo can be decoded any more."""

from __future__ import annotations

import sys

if "tagger" in sys.orig_argv:
    from PIL import ImageFile

    def _broken(*_: object, **__: object) -> None:
        raise OSError("planted: no codec")

    ImageFile.ImageFile.load = _broken  # type: ignore[assignment]
