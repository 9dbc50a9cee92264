from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groknet.cli.exits import Exit
from tests.groknet.conftest import Call, write_photo


@pytest.mark.slow
def test_a_data_set_is_embedded_and_a_second_call_goes_on(groknet: Call, tmp_path: Path, bundle: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    for seed in range(3):
        write_photo(data / f"{seed}.jpg", seed)
    (data / "bad.jpg").write_bytes(b"no photo")
    (data / "labels.csv").write_text("path,split\n" + "".join(f"{name}.jpg,train\n" for name in (0, 1, 2, "bad")))
    for _ in range(2):
        answer = groknet("data", "embed", data, "--bundle", bundle, "--out", out, "--workers", 1, "--json")
        assert answer.code == Exit.OK
        assert (answer.json["photos"], answer.json["parts"], list(answer.json["skipped"])) == (3, 1, ["bad.jpg"])
    with np.load(out / "part-000000.npz") as part:
        assert part["hashes"].shape == (3, 32)
    (data / "labels.csv").unlink()
    plain = groknet("data", "embed", data, "--bundle", bundle, "--out", tmp_path / "plain", "--workers", 1, "--json")
    assert (plain.json["photos"], list(plain.json["skipped"])) == (3, ["bad.jpg"])
    assert groknet("data", "embed", tmp_path / "none", "--bundle", bundle, "--out", out).code == Exit.NOT_FOUND
