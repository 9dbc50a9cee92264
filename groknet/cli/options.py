"""Options that several commands share, once, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

HomeOption = Annotated[
    Path | None,
    Parameter(
        name="--home",
        help="Folder with groknet.toml and the embedded data; else $GROKNET_HOME, else ./groknet-home.",
    ),
]
JsonOption = Annotated[
    bool, Parameter(name="--json", negative=(), help="JSON on stdout, one value a line, for machines.")
]
BundleOption = Annotated[
    Path | None,
    Parameter(name="--bundle", help="Folder of a bundle; else engine.bundle, else the demo bundle."),
]
Reader = Literal["csv", "folder", "webdataset", "aliproducts", "inshop", "sop", "products10k", "rp2k"]
ReaderOption = Annotated[
    Reader,
    Parameter(name="--reader", help="Layout of the labelled folder; csv is labels.csv beside the photos."),
]
GiveUpOption = Annotated[
    float,
    Parameter(name="--give-up-s", help="With --wait: seconds in which nothing moves before giving up."),
]
GIVE_UP_S = 120.0  # four of the first retry topic's delays: a listing that waits there is not given up
