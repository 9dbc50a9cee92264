"""Every command with its one line of help, and where it lives. Nothing is imported before a command is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

LISTINGS, OPERATION, MODELS, SHELL = "Listings", "Operation", "Models and data", "Shell"
PANELS = (LISTINGS, OPERATION, MODELS, SHELL)
"""The parts of `groknet --help`, in their order."""

_LISTINGS = "groknet.commands.listings"
_OPERATION = "groknet.commands.operation"
_MODELS = "groknet.commands.models"
_GALLERY = "groknet.commands.gallery"


class Command(NamedTuple):
    """`target` is MODULE:NAME of a function, or of a cyclopts App with commands of its own."""

    target: str
    line: str
    panel: str = "Commands"


class Group(NamedTuple):
    """A command that only holds other ones."""

    line: str
    panel: str
    commands: Mapping[str, Command]


COMMANDS: Mapping[str, Command | Group] = {
    "submit": Command(
        f"{_LISTINGS}.submit:submit", "Send photos, folders or event files (.ndjson; - is stdin).", LISTINGS
    ),
    "import": Command(
        f"{_LISTINGS}.import_feed:import_feed", "Send the products of a shop's feed: XML, CSV or JSON-LD.", LISTINGS
    ),
    "show": Command(f"{_LISTINGS}.show:show", "Show what is stored about listings.", LISTINGS),
    "where": Command(
        f"{_LISTINGS}.where:where", "Show where a listing is now, why, and when it is tried next.", LISTINGS
    ),
    "search": Command(f"{_LISTINGS}.search:search", "Find the listings that look like a photo.", LISTINGS),
    "remove": Command(f"{_LISTINGS}.remove:remove", "Remove listings from the store and the index.", LISTINGS),
    "dlq": Group(
        "List, show and replay dead letters, the events that failed.",
        LISTINGS,
        {
            "list": Command(f"{_LISTINGS}.dlq:list_letters", "List all dead letters, one line each."),
            "show": Command(f"{_LISTINGS}.dlq:show", "Show one dead letter: all its headers and its value."),
            "replay": Command(f"{_LISTINGS}.dlq:replay", "Send dead letters again, each of them once."),
        },
    ),
    "gallery": Group(
        "Find out what the gallery lacks, and fetch photos for it.",
        LISTINGS,
        {
            "unanswered": Command(f"{_GALLERY}.searches:unanswered", "List searches that found nothing, in groups."),
            "discover": Command(f"{_GALLERY}.searches:discover", "Rank categories and groups where searches fail."),
            "coverage": Command(f"{_GALLERY}.searches:show_coverage", "Labels by photo against the title alone."),
            "fetch": Command(f"{_GALLERY}.fetch:fetch", "Fetch what a list or a sitemap names, politely."),
        },
    ),
    "feedback": Group(
        "Export or delete what people judged right or wrong.",
        LISTINGS,
        {
            "export": Command(f"{_GALLERY}.feedback:export", "Export judgements as training data."),
            "forget": Command(f"{_GALLERY}.feedback:forget", "Delete all kept searches and judgements."),
        },
    ),
    "together": Group(
        "Tell which listings were together in carts, views and scenes.",
        LISTINGS,
        {"import": Command(f"{_LISTINGS}.together:import_occasions", "Send occasions from JSON lines or a CSV table.")},
    ),
    "demo": Command(
        f"{_OPERATION}.demo:demo", "Start all workers, stream sample listings and print the results.", OPERATION
    ),
    "run": Group(
        "Run one worker, or all of them under a supervisor.",
        OPERATION,
        {
            "all": Command(f"{_OPERATION}.run:run_all", "Run taggers, indexer and search, one process each."),
            "tagger": Command(f"{_OPERATION}.run:tagger", "Read listing events, write predictions and hashes."),
            "indexer": Command(f"{_OPERATION}.run:indexer", "Read hashes, answer nearest-neighbour queries."),
            "search": Command(f"{_OPERATION}.run:search", "Serve search by photo over HTTP, and the search page."),
            "products": Command(f"{_OPERATION}.run:products", "Find listings of one product, and give them one id."),
        },
    ),
    "doctor": Command(
        f"{_OPERATION}.doctor:doctor", "Check the installation and the workers, and name remedies.", OPERATION
    ),
    "config": Command(f"{_OPERATION}.config:config", "Print the configuration in force, without secrets.", OPERATION),
    "services": Command(f"{_OPERATION}.services:app", "Run real Kafka and Cassandra on this machine.", OPERATION),
    "topics": Command(f"{_OPERATION}.topics:app", "List, create and check the topics.", OPERATION),
    "store": Command(f"{_OPERATION}.store:app", "Migrate and check the schema of the store.", OPERATION),
    "upgrade": Command(
        f"{_OPERATION}.upgrade:upgrade", "Take over what an older release left: home, tables, topics.", OPERATION
    ),
    "backfill": Command(
        f"{_OPERATION}.backfill:backfill", "Tag stored listings again, for the index of another bundle.", OPERATION
    ),
    "drift": Command(f"{_OPERATION}.drift:app", "Report whether the answers of the model drift.", OPERATION),
    "epoch": Command(f"{_OPERATION}.epoch:app", "Show hash epochs, and switch from one to another.", OPERATION),
    "data": Group(
        "Check, convert and clean data sets, and derive labels.",
        MODELS,
        {
            "check": Command(f"{_MODELS}.data:check", "Show what training would read: splits, labels, problems."),
            "pack": Command(f"{_MODELS}.data:pack", "Convert a data set of any layout to tar shards."),
            "embed": Command(f"{_MODELS}.embed:embed", "Embed and hash every photo of a data set."),
            "weak-labels": Command(f"{_MODELS}.data:weak_labels", "Label photos with their nearest product."),
            "query-pairs": Command(f"{_MODELS}.data:query_pairs", "Pair photos with search queries, from a log."),
            "clean": Command(f"{_MODELS}.cleaning:clean", "De-duplicate, de-noise, merge and relabel, with defaults."),
            "dedup": Command(f"{_MODELS}.cleaning:dedup", "Find photos that are one picture; keep the best."),
            "denoise": Command(f"{_MODELS}.cleaning:denoise", "Find photos that are not of their product."),
            "merge": Command(f"{_MODELS}.cleaning:merge", "Find labels that are one product."),
            "relabel": Command(f"{_MODELS}.cleaning:relabel", "Find the product of photos that denoise left out."),
            "report": Command(f"{_MODELS}.cleaning:report", "Write report and table of a cleaning again."),
            "review": Command(f"{_MODELS}.cleaning:review", "Check a cleaning on a page in the browser."),
            "undo": Command(f"{_MODELS}.cleaning:undo", "Take marks of a cleaning back."),
        },
    ),
    "boxes": Group(
        "Label photos with boxes: few by hand, the rest by a detector.",
        MODELS,
        {
            "init": Command(f"{_MODELS}.boxes:init", "Begin a labelling project for a folder of photos."),
            "label": Command(f"{_MODELS}.boxes:label", "Label by a detector; keep sure boxes, queue doubtful photos."),
            "review": Command(f"{_MODELS}.boxes:review", "Open the page on which a person draws and corrects boxes."),
            "train": Command(f"{_MODELS}.boxes:train", "Train the project's next detector on all known boxes."),
            "status": Command(f"{_MODELS}.boxes:status", "Show photos, boxes, thresholds and hours saved."),
            "import": Command(f"{_MODELS}.boxes:import_boxes", "Add boxes from COCO, VOC or a table."),
            "export": Command(f"{_MODELS}.boxes:export", "Write the known boxes as COCO or VOC."),
        },
    ),
    "train": Command(f"{_MODELS}.train:train", "Train a network from a recipe.", MODELS),
    "export": Command(f"{_MODELS}.export:export", "Make a bundle from a run, or convert one for phones.", MODELS),
    "evaluate": Command(f"{_MODELS}.evaluate:evaluate", "Measure the accuracy of a bundle on labelled photos.", MODELS),
    "bundle": Group(
        "Inspect, verify, compare, join, refit and rehash bundles.",
        MODELS,
        {
            "inspect": Command(f"{_MODELS}.bundle:inspect", "Show heads, labels, thresholds and files of a bundle."),
            "verify": Command(f"{_MODELS}.bundle:verify", "Verify checksums and parity photos, as a worker does."),
            "diff": Command(f"{_MODELS}.bundle:diff", "Show what changes for users from one bundle to another."),
            "with-detector": Command(f"{_MODELS}.bundle:with_detector", "Join a bundle and a detector of products."),
            "refit": Command(f"{_MODELS}.bundle:refit", "Teach a bundle to which photos its heads apply."),
            "rehash": Command(f"{_MODELS}.bundle:rehash", "Give a bundle another hash layer, and so another epoch."),
            "baseline": Command(f"{_MODELS}.bundle:baseline", "Measure how a bundle answers, to notice drift later."),
        },
    ),
    "engine": Group(
        "Build, inspect, verify and benchmark engines.",
        MODELS,
        {
            "build": Command(f"{_MODELS}.engine:build", "Compile a bundle for a back end and a precision."),
            "inspect": Command(f"{_MODELS}.engine:inspect", "Show what an engine folder holds."),
            "verify": Command(f"{_MODELS}.engine:verify", "Verify checksums and parity photos."),
            "bench": Command(f"{_MODELS}.engine:bench", "Measure photos per second and latency on this machine."),
        },
    ),
    "detector": Group(
        "Train, export and measure detectors, which find products.",
        MODELS,
        {
            "train": Command(f"{_MODELS}.detector:train", "Train a detector from a recipe and tables of boxes."),
            "export": Command(f"{_MODELS}.detector:export", "Make a detector bundle from a run."),
            "evaluate": Command(f"{_MODELS}.detector:evaluate", "Measure a detector on photos with known boxes."),
            "int8": Command(f"{_MODELS}.detector:int8", "Make an INT8 bundle of a float one."),
            "phone": Command(f"{_MODELS}.detector:phone", "Convert a detector bundle for phones."),
            "bench": Command(f"{_MODELS}.detector:bench", "Measure photos per second and latency."),
        },
    ),
    "reference": Command(
        f"{_MODELS}.reference:reference", "Make a bundle of the large network from weights of yours.", MODELS
    ),
    "--install-completion": Command(
        "groknet.cli.completion:install_completion", "Install completion of commands and options.", SHELL
    ),
}


def full_names() -> Iterator[str]:
    """Every command as a user types it, groups included."""
    for name, entry in COMMANDS.items():
        yield name
        if isinstance(entry, Group):
            yield from (f"{name} {inner}" for inner in entry.commands)
