"""Whether `import workers` gets groknet's own package, and not one of the user's project.

groknet installs its rooms as top-level packages. A project with a folder `workers/` or `schemas/` of its own hides them
when that folder comes first on Python's path. The import would then fail with the name of some module or package that
has nothing to do with the cause.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

ROOMS = ("schemas", "engines", "workers", "training", "deploy")
"""What `groknet` imports besides itself."""


def other_rooms() -> str:
    """One sentence that names the folder in the way, groknet's own and the remedy; empty when all rooms are ours."""
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
