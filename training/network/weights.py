"""A trunk's weights from a local file: .safetensors, or a torch state dict. Nothing in a file is executed."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import Tensor, nn

from schemas.errors import ConfigError
from training.network.trunk import OpenClipTrunk

VISUAL = "visual."
"""The part of an open_clip model that sees photos; its text part is left out."""


def read_weights(path: Path, key: str, hint: str = "") -> dict[str, Tensor]:
    """The tensors of a file by name.

    Args:
        path: the file.
        key: the option or the recipe's key that named it, for the message of an error.
        hint: what else the key may be.

    Raises:
        ConfigError: it is no file, or it cannot be read.
    """
    from timm.models import load_state_dict

    if not path.is_file():
        raise ConfigError(f"{key}: {path} is no file; name one{hint}")
    try:
        state = load_state_dict(str(path))  # torch files are read with weights_only, so nothing in them is executed
    except Exception as error:  # every format raises other errors
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"{key}: {path.name} cannot be read ({text}); save a state dict of tensors") from None
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def load_body(trunk: nn.Module, state: dict[str, Tensor], name: str, key: str, trunk_key: str) -> None:
    """Put the tensors of the file `name` into a trunk. Others, such as a classifier's, are left out.

    Raises:
        ConfigError: a tensor is missing, or of another shape; the message names `key`, and `trunk_key`, which says what
            the trunk is.
    """
    if isinstance(trunk, OpenClipTrunk) and any(one.startswith(VISUAL) for one in state):
        state = {one.removeprefix(VISUAL): value for one, value in state.items() if one.startswith(VISUAL)}
    body = cast(nn.Module, getattr(trunk, "body", trunk))
    wanted = body.state_dict()
    for one, value in wanted.items():
        if one.endswith("num_batches_tracked"):  # a counter of training steps, which older files do not have
            state.setdefault(one, value)
        elif one not in state:
            raise ConfigError(f"{key}: {name} has no {one}: it is of another trunk; name that with {trunk_key}")
        if state[one].shape != value.shape:
            found, needed = list(state[one].shape), list(value.shape)
            raise ConfigError(f"{key}: {name}: {one} is {found}, but {needed} in the trunk; check {trunk_key}")
    body.load_state_dict({one: state[one] for one in wanted})
