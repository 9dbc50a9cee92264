"""Checks whether `import workers` finds groknet's own package, and not one of the user's project.

groknet installs its rooms as top-level packages. If a project has its own folder `workers/` or `schemas/`, and that
folder comes first on Python's path, it hides groknet's. The import would then fail and name a module that has nothing
to do with the cause.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

ROOMS = ("schemas", "engines", "workers", "training", "deploy")
"""What `groknet` imports besides itself."""


def other_rooms() -> str:
    """One sentence that names the wrong folder, groknet's own and the remedy. Empty if all rooms are groknet's."""
    ours = Path(__file__).resolve().parents[2]
    for room in ROOMS:
        spec = find_spec(room)
        if spec is None or spec.origin is None:
            continue
        found = Path(spec.origin).resolve()
        place = found.parent if found.name == "__init__.py" else found
        if place != ours / room:
            return (
                f"Python finds {place} before {ours / room}, which groknet needs; run groknet from another folder, "
                "or install it into an environment of its own"
            )
    return ""
