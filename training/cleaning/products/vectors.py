"""The embeddings of photos, kept on disk so that no photo is embedded twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.files import write_file
from engines.recognition import RecognitionEngine
from schemas.errors import ConfigError
from schemas.manifest import load_manifest
from training.bulk import Engine
from training.bulk.embed import embed_rows
from training.cleaning.copies.fingerprints import Progress
from training.readers.label_table import Row
from training.weak.embeddings import Seen, embed

Floats = NDArray[np.float32]
_ROWS, _NAMES, _MODEL = "vectors.bin", "vectors.jsonl", "vectors.model.json"


@dataclass(frozen=True)
class Embedder:
    """What embeds photos.

    Attributes:
        model: the version of the model.
        length: of its embeddings.
        look: the folder of the photos, and rows with a `path` → what was seen of each, in order.
    """

    model: str
    length: int
    look: Callable[[Path, Iterable[Row]], Iterator[Seen]]


def in_this_process(engine: RecognitionEngine) -> Embedder:
    """Embeds with an engine that is open."""
    return Embedder(engine.manifest.model_version, engine.manifest.embedding.dim, partial(embed, engine))


def by_workers(bundle: Path, workers: int, engine: Engine) -> Embedder:
    """Embeds on workers, each of which opens the bundle."""
    manifest = load_manifest(bundle)
    look = partial(embed_rows, bundle, workers=workers, engine=engine)
    return Embedder(manifest.model_version, manifest.embedding.dim, look)


class Vectors:
    """Embeddings by path.

    `vectors.bin` has float32 rows, `vectors.jsonl` the photo of each row with its error if it has none (the row is then
    zeros), and `vectors.model.json` says which model made them. The first two only grow.
    """

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        """Open or begin the embeddings in `folder` that an embedder makes.

        Raises:
            ConfigError: those that are there are another model's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._embedder, self._length = folder, embedder, embedder.length
        about = {"model": embedder.model, "length": embedder.length}
        file = folder / _MODEL
        if not file.is_file():
            write_file(file, json.dumps(about))
        if (there := json.loads(file.read_text())) != about:
            raise ConfigError(f"{file}: the embeddings are of {there}, not {about}; name another folder, or delete it")
        self._places: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self._load()

    def add(self, folder: Path, paths: Sequence[str], progress: Progress | None = None) -> None:
        """Embed the photos of `paths` below `folder` that are not there yet. `errors` has those that cannot be read."""
        missing = [path for path in paths if path not in self._places]
        done = len(paths) - len(missing)
        with (self._folder / _ROWS).open("ab") as rows, (self._folder / _NAMES).open("ab") as names:
            for seen in self._embedder.look(folder, ({"path": path} for path in missing)):
                row = np.zeros(self._length, np.float32) if seen.embedding is None else seen.embedding
                rows.write(np.ascontiguousarray(row, np.float32).tobytes())
                names.write(json.dumps([seen.row["path"], seen.error]).encode() + b"\n")
                done += 1
                if progress is not None:
                    progress(done, len(paths))
        self._load()

    def of(self, paths: Sequence[str]) -> Floats:
        """The embeddings of these photos, float32 [n, length]; zeros for one that cannot be read.

        Raises:
            KeyError: a photo was never added.
        """
        places = [self._places[path] for path in paths]
        if not places:
            return np.empty((0, self._length), np.float32)
        rows = np.memmap(self._folder / _ROWS, np.float32, "r").reshape(-1, self._length)
        return np.asarray(rows[places])

    def _load(self) -> None:
        """Read the names, and cut off what a killed run wrote into one file further than into the other."""
        rows, names = self._folder / _ROWS, self._folder / _NAMES
        width = 4 * self._length
        count = rows.stat().st_size // width if rows.is_file() else 0
        lines = names.read_bytes().splitlines(keepends=True) if names.is_file() else []
        lines = [line for line in lines[:count] if line.endswith(b"\n")]
        self._places.clear()
        for place, line in enumerate(lines):
            path, error = json.loads(line)
            self._places[path] = place
            if error:
                self.errors[path] = error
        for file, size in ((rows, len(lines) * width), (names, sum(map(len, lines)))):
            with file.open("ab") as opened:
                opened.truncate(size)
