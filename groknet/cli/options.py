"""Options that several commands share. They are declared once, so that they read the same everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import ArgumentCollection, Parameter, Token, UnknownOptionError

_NO_ARGUMENTS = ArgumentCollection()  # type: ignore[no-untyped-call]
_OPTION = re.compile(r"--[a-z]+(-[a-z]+)*(=.*)?")  # ids may begin with a dash, as those of Firebase do

HomeOption = Annotated[
    Path | None,
    Parameter(
        name="--home",
        help="Folder with groknet.toml and the embedded data. Default: $GROKNET_HOME, or ./groknet-home.",
    ),
]
JsonOption = Annotated[bool, Parameter(name="--json", negative=(), help="Write JSON to stdout, one value a line.")]


def _no_option(_: type, value: str | list[str]) -> None:
    """Refuse what is rather a mistyped option than a listing id."""
    for one in [value] if isinstance(value, str) else value:
        if _OPTION.fullmatch(one):
            raise UnknownOptionError(token=Token(keyword=one, source="cli"), argument_collection=_NO_ARGUMENTS)


ListingId = Annotated[str, Parameter(name="id", help="A listing id.", allow_leading_hyphen=True, validator=_no_option)]
ListingIds = Annotated[list[str], Parameter(help="Listing ids.", allow_leading_hyphen=True, validator=_no_option)]
BundleOption = Annotated[
    Path | None,
    Parameter(name="--bundle", help="Folder of a bundle. Default: engine.bundle, or the demo bundle."),
]
Reader = Literal["csv", "folder", "webdataset", "aliproducts", "inshop", "sop", "products10k", "rp2k"]
ReaderOption = Annotated[
    Reader,
    Parameter(name="--reader", help="Layout of the labelled folder. csv means a labels.csv beside the photos."),
]
LayoutOption = Annotated[
    Literal["", "tree", "csv", "folder", "webdataset", "aliproducts", "inshop", "sop", "products10k", "rp2k"],
    Parameter(
        name="--reader",
        help="Layout of FOLDER. Default: csv if it has a labels.csv, webdataset if it has tar files, else tree.",
    ),
]
EngineOption = Annotated[
    Literal["pool", "ray"],
    Parameter(name="--engine", help="pool: processes of this machine. ray: Ray Data, which needs groknet[bulk]."),
]
GiveUpOption = Annotated[
    float,
    Parameter(name="--give-up-s", help="With --wait: give up after this many seconds without progress."),
]
GIVE_UP_S = 120.0  # four of the first retry topic's delays: a listing that waits there can still finish
