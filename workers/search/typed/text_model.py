"""A text model of the user's own: it maps any text into the bundle's space of photo embeddings.

The index has hashes alone. So a text's vector goes through the bundle's hash layer, its hash is looked up in the index
of photos, and the nearest are ordered as those of a photo are. That helps only if the model was trained or fitted
against photo embeddings of this bundle, for example by a linear map behind the text tower of a CLIP model.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.recognition import HashLayer, Unrounded
from schemas.errors import ConfigError
from workers.search.find.filters import Filters
from workers.search.find.finder import RERANKED, Finder, Found, Wanted

_log = logging.getLogger(__name__)
_WARN_EVERY_S = 60.0


class TextModel(Protocol):
    """What `search.text_model` makes. It is called by one thread at a time."""

    def embed(self, text: str) -> NDArray[np.float32]:
        """A text as a vector float32 [dim] of the bundle's embedding space. Its length does not matter."""


class TextTower:
    """A text model with the hash layer of the bundle. Thread-safe."""

    def __init__(self, model: TextModel, layer: HashLayer) -> None:
        self._model, self._layer = model, layer
        self._lock = threading.Lock()

    def read(self, text: str) -> Unrounded | None:
        """The text as a photo is before its hash is rounded; None if its vector has no direction.

        Raises:
            ConfigError: the model's answer has another shape than an embedding.
        """
        with self._lock:
            vector = np.asarray(self._model.embed(text), np.float32)
        dim = self._layer.weight.shape[1]
        if vector.shape != (dim,):
            found = f"it answers {list(vector.shape)}"
            raise ConfigError(f"search.text_model: {found}, and embeddings of this bundle are [{dim}]; map them")
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0.0:
            return None
        return Unrounded((vector / np.float32(length)).astype(np.float32), self._layer)


def load_text_tower(name: str, layer: HashLayer | None) -> TextTower:
    """The text model that `package.module:factory` makes, with the bundle's hash layer.

    Raises:
        ConfigError: there is no such factory, it fails, its answers have a wrong shape, or the bundle has no layer.
    """
    module, _, factory = name.partition(":")
    if layer is None:
        raise ConfigError("search.text_model: this bundle has no hash layer; export it again")
    try:
        made = getattr(importlib.import_module(module), factory)()
    except Exception as error:  # it is the operator's code: whatever it raises is said
        text = f"search.text_model: {name!r} cannot be made ({type(error).__name__}: {error})"
        raise ConfigError(f"{text}; write package.module:factory, a function without arguments") from error
    tower = TextTower(made, layer)
    tower.read("red mug")
    return tower


class TextSearch:
    """Finds the photos nearest to a text. Thread-safe. Calls block, and may raise Transient or EpochMismatch."""

    def __init__(self, tower: TextTower, finder: Finder) -> None:
        self._tower, self._finder = tower, finder
        self._warned = -_WARN_EVERY_S

    def find(self, text: str, count: int, only: Filters) -> list[Found]:
        """The listings nearest to a text that pass, the nearest first: `count`, or `RERANKED` if that is more. As for a
        photo, they are the nearest by hash, ordered anew. Empty if the model fails: a query is answered without it."""
        try:
            read = self._tower.read(text)
        except Exception as error:  # it is the operator's code: whatever it raises, titles still answer
            now = time.monotonic()
            if now - self._warned >= _WARN_EVERY_S:
                self._warned = now
                _log.warning("search.text_model failed, and queries are answered without it: %r", error)
            return []
        if read is None:
            return []
        code = np.packbits(read.margins > 0).tobytes().hex()
        return self._finder.refined(read, self._finder.find([code], Wanted(max(count, RERANKED), only=only)))
