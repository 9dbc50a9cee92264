"""Options that several commands share. They are declared once, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

HomeOption = Annotated[
    Path | None,
    Parameter(
        name="--home",
        help="Folder with groknet.toml and the embedded data. Default: $GROKNET_HOME, or ./groknet-home.",
    ),
]
JsonOption = Annotated[bool, Parameter(name="--json", negative=(), help="Write JSON to stdout, one value a line.")]
BundleOption = Annotated[
    Path | None,
    Parameter(name="--bundle", help="Folder of a bundle. Default: engine.bundle, or the demo bundle."),
]
Reader = Literal["csv", "folder", "webdataset", "aliproducts", "inshop", "sop", "products10k", "rp2k"]
ReaderOption = Annotated[
    Reader,
    Parameter(name="--reader", help="Layout of the labelled folder. csv means a labels.csv beside the photos."),
]
GiveUpOption = Annotated[
    float,
    Parameter(name="--give-up-s", help="With --wait: give up after this many seconds without progress."),
]
GIVE_UP_S = 120.0  # four of the first retry topic's delays: a listing that waits there can still finish
