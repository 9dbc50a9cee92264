from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.workers.search.rig import Rig, photo, rig


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Thirty listings, of one to three photos, in a service that is ready; tests of it only read."""
    with rig(tmp_path_factory.mktemp("shop")) as made:
        photos = 0
        for i in range(30):
            shots = {f"p/{j}": photo(100 * i + j) for j in range(1 + i % 3)}
            made.add(f"shop/{i}", shots, title=f"Thing {i}" if i % 2 else None, category="things")
            photos += len(shots)
        made.indexed(photos)
        yield made
