"""`python -m training.studio sheet|write`: write a contact sheet of the studio's photos, or a folder of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.studio._dataset import write_dataset
from training.studio._sheet import contact_sheet, sample_of_each

_EXAMPLES = """examples:
  python -m training.studio sheet sheet.jpg
  python -m training.studio write photos/ --identities 0:2000 --views 4 --size 256 --split train
  python -m training.studio write photos/ --identities 100000:100200 --views 4 --split test
"""


def _span(text: str) -> range:
    first, colon, last = text.partition(":")
    try:
        span = range(int(first), int(last)) if colon else range(0)
    except ValueError:
        span = range(0)
    if not span:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with A < B (B itself is left out), such as 0:2000")
    return span


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.studio",
        description="Photos of invented products with known labels, rendered in numpy.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sheet = commands.add_parser("sheet", help="write a contact sheet: every category, iconic and natural")
    sheet.add_argument("out", type=Path, metavar="OUT", help="file to write; .png or .jpg")
    sheet.add_argument("--side", type=int, default=160, help="pixels a side of each photo (default 160)")
    sheet.add_argument("--seed", type=int, default=0, help="seed of the products (default 0)")
    write = commands.add_parser("write", help="write JPEGs and labels.csv; existing photos are kept")
    write.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write to; made if it does not exist")
    write.add_argument("--identities", type=_span, required=True, metavar="A:B", help="identities A to B - 1")
    write.add_argument(
        "--views", type=int, default=4, help="natural photos of each product, besides one catalogue photo (default 4)"
    )
    write.add_argument("--size", type=int, default=256, help="pixels a side (default 256)")
    write.add_argument("--split", choices=("train", "val", "test"), default="train", help="split of natural photos")
    write.add_argument("--seed", type=int, default=0, help="seed of products and photos (default 0)")
    write.add_argument("--workers", type=int, default=None, help="processes (default: one for each core)")
    write.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 when everything is written; argparse exits with 2 for a usage error."""
    args = _parser().parse_args(argv)
    if args.command == "sheet":
        contact_sheet(sample_of_each(args.side, args.seed), columns=8).save(args.out, quality=82)
        return 0
    drawn = write_dataset(
        args.folder,
        args.identities,
        args.views,
        (args.size, args.size),
        seed=args.seed,
        workers=args.workers,
        progress=not args.quiet,
        split=args.split,
    )
    print(f"{drawn} photos drawn into {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
