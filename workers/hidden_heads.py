"""Heads that an operator hides by policy: `tagger.hidden_heads` and `search.hidden_heads`."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import structs

from schemas.errors import ConfigError
from schemas.manifest import Manifest

TAGGER, SEARCH = "tagger.hidden_heads", "search.hidden_heads"


def without_heads(manifest: Manifest, hidden: Collection[str], setting: str) -> Manifest:
    """Return the manifest without the heads of these ids; what is made with it names none of them.

    Raises:
        ConfigError: the bundle has no head of such an id. The message names `setting` and the bundle's heads.
    """
    known = [head.id for head in manifest.heads]
    for head_id in hidden:
        if head_id not in known:
            text = f"{setting}: bundle {manifest.model_version} has no head {head_id!r}; its heads are"
            raise ConfigError(f"{text} {', '.join(known)}")
    return structs.replace(manifest, heads=[head for head in manifest.heads if head.id not in hidden])
