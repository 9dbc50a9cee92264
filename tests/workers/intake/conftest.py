"""The loopback server lies beside its users; tests are imported by path, so its folder has to be named."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
