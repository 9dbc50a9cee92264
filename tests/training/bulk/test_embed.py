from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.pixels import decode
from engines.recognition import build_engine
from schemas.errors import ConfigError
from tests.engines.tiny_bundle import write_tiny_bundle
from training.bulk import embed as module
from training.bulk.embed import EmbedPart, embed_all, embed_part
from training.readers import read


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_tiny_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty photos in a table, one of them with a box, one broken, one missing."""
    made = tmp_path / "data"
    made.mkdir()
    rng = np.random.default_rng(1)
    lines = ["path,split,box"]
    for number in range(20):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)).save(file, "PNG")
        (made / f"{number}.png").write_bytes(file.getvalue())
        lines.append(f"{number}.png,train,{'0 0 0.5 1' if number == 3 else ''}")
    (made / "7.png").write_bytes(b"broken")
    (made / "labels.csv").write_text("\n".join(lines))
    return made


def test_a_part_holds_what_the_engine_says_of_each_photo(bundle: Path, folder: Path, tmp_path: Path) -> None:
    rows = read("csv", folder).rows
    out = tmp_path / "out"
    out.mkdir()
    report = embed_part(EmbedPart(0, rows), bundle=bundle, folder=folder, out=out)
    assert (report.photos, list(report.skipped)) == (19, ["7.png"])
    engine = build_engine(bundle, threads=1)
    with np.load(out / "part-000000.npz") as part:
        assert part["paths"].tolist() == [f"{n}.png" for n in range(20) if n != 7]
        assert part["boxes"].tolist()[3] == "0 0 0.5 1"
        for place, path in enumerate(part["paths"].tolist()):
            if path == "3.png":
                continue
            pixels = decode((folder / path).read_bytes(), engine.manifest.preprocess)
            alone = engine.infer(pixels[None])
            np.testing.assert_allclose(part["embeddings"][place], alone.embedding[0], atol=1e-5)
            np.testing.assert_array_equal(part["hashes"][place], alone.hash[0])
        halves = part["embeddings"][3] @ part["embeddings"].T
        assert halves[3] == pytest.approx(1.0, abs=1e-5)
    again = embed_part(EmbedPart(0, []), bundle=tmp_path / "none", folder=folder, out=out)
    assert again == report  # a part that is there is not computed again
    engine.close()


def test_reasons_of_a_stopped_run_do_not_outlive_it(bundle: Path, folder: Path, tmp_path: Path) -> None:
    """It was stopped between the reasons and the part, and the photo was mended since."""
    rows = read("csv", folder).rows[:8]
    assert rows[7]["path"] == "7.png"
    out = tmp_path / "out"
    out.mkdir()
    embed_part(EmbedPart(0, rows), bundle=bundle, folder=folder, out=out)
    (out / "part-000000.npz").unlink()
    (folder / "7.png").write_bytes((folder / "6.png").read_bytes())
    for _ in range(2):  # the second one reads what is there
        report = embed_part(EmbedPart(0, rows), bundle=bundle, folder=folder, out=out)
        assert (report.photos, report.skipped) == (8, {})


@pytest.mark.slow
def test_any_number_of_workers_writes_the_same_arrays(bundle, folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "PART", 6)
    rows = read("csv", folder).rows
    for name, workers in (("one", 1), ("other", 2)):
        reports = list(embed_all(bundle, folder, rows, tmp_path / name, workers=workers))
        assert [report.photos for report in reports] == [6, 5, 6, 2]
    for file in sorted((tmp_path / "one").glob("*.npz")):
        with np.load(file) as one, np.load(tmp_path / "other" / file.name) as other:
            assert one.files == other.files
            for array in one.files:
                np.testing.assert_array_equal(one[array], other[array])


def test_parts_of_something_else_are_not_mixed_in(bundle: Path, folder: Path, tmp_path: Path) -> None:
    rows = read("csv", folder).rows
    out = tmp_path / "out"
    out.mkdir()
    (out / "about.txt").write_text("something else")
    with pytest.raises(ConfigError, match="--out"):
        list(embed_all(bundle, folder, rows, out))
