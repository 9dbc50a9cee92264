"""What importing the engines must not pull in."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "onnxruntime", "openvino", "faiss", "onnx", "kafka", "cassandra", "sqlite3", "urllib3")


def test_import_needs_no_back_end() -> None:
    """In a fresh interpreter: a machine without a back end's package can still import every engine."""
    code = (
        "import sys, engines.pixels, engines.recognition, engines.similarity\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
