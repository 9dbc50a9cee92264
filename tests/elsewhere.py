"""The modules whose test does not have their name. Each says which test checks it, and why."""

from __future__ import annotations

from typing import NamedTuple


class Elsewhere(NamedTuple):
    """Modules that have no test of their own name: the test that checks them, and why it is there."""

    test: str
    reason: str
    modules: tuple[str, ...]


ELSEWHERE: tuple[Elsewhere, ...] = (
    Elsewhere(
        "tests/contract/test_stream_contract.py",
        "an interface: one suite runs over every back end",
        ("workers/streams/base.py",),
    ),
    Elsewhere(
        "tests/contract/test_store_contract.py",
        "an interface: one suite runs over every back end",
        ("workers/stores/base.py",),
    ),
    Elsewhere(
        "tests/engines/recognition/test_engine_backends.py",
        "an interface, and the back end that the others are compared with",
        ("engines/recognition/interface.py", "engines/recognition/onnx_runtime.py"),
    ),
    Elsewhere(
        "tests/engines/recognition/test_engine.py",
        "what the engine answers is made of these",
        ("engines/recognition/outputs/predictions.py",),
    ),
    Elsewhere(
        "tests/engines/recognition/torch/test_operators.py",
        "runs a graph of one operator at a time",
        ("engines/recognition/torch/graph.py",),
    ),
    Elsewhere(
        "tests/engines/recognition/precision/test_convert.py",
        "a conversion begins with folding",
        ("engines/recognition/folding.py",),
    ),
    Elsewhere(
        "tests/engines/recognition/tensorrt/test_build.py",
        "an engine takes seconds to build, so one serves all of these",
        (
            "engines/recognition/tensorrt/cache.py",
            "engines/recognition/tensorrt/manifest.py",
            "engines/recognition/tensorrt/plan.py",
        ),
    ),
    Elsewhere(
        "tests/engines/gpu/test_driver.py",
        "pycuda runs on a machine with a GPU alone; its errors are tested here",
        ("engines/gpu/pycuda_driver.py",),
    ),
    Elsewhere(
        "tests/engines/pixels/multiprocess/test_processes.py",
        "the process that the pool starts",
        ("engines/pixels/multiprocess/decode_process.py",),
    ),
    Elsewhere(
        "tests/workers/test_tracing.py",
        "only workers/tracing.py imports it; a receiver sees what it sends",
        ("workers/tracing_spans.py",),
    ),
    Elsewhere(
        "tests/training/bulk/test_process_map.py",
        "it chooses between this and Ray, whose tests call it",
        ("training/bulk/engines.py",),
    ),
    Elsewhere(
        "tests/workers/backfill/test_backfill.py",
        "the back-fill ends when all is covered; it writes what was computed",
        ("workers/backfill/coverage.py", "workers/backfill/tagging.py"),
    ),
    Elsewhere(
        "tests/workers/indexer/test_indexer.py",
        "parts of one indexer that runs",
        ("workers/indexer/app.py", "workers/indexer/settings.py", "workers/indexer/updates.py"),
    ),
    Elsewhere(
        "tests/workers/indexer/test_indexer_kill.py",
        "what a snapshot is for",
        ("workers/indexer/snapshots.py",),
    ),
    Elsewhere(
        "tests/workers/intake/test_web.py",
        "against a real server on loopback",
        ("workers/intake/wire.py",),
    ),
    Elsewhere(
        "tests/groknet/submitting/test_photo_events.py",
        "copies are kept by who submits them",
        ("workers/intake/uploads.py",),
    ),
    Elsewhere(
        "tests/workers/search/http/routes/test_photo_routes.py",
        "asked over HTTP, as a caller would",
        (
            "workers/search/find/finder.py",
            "workers/search/find/labels/suggest.py",
            "workers/search/http/recogniser.py",
            "workers/search/http/uploads.py",
        ),
    ),
    Elsewhere(
        "tests/workers/search/http/routes/test_listing_routes.py",
        "asked over HTTP, as a caller would",
        ("workers/search/http/json_bodies.py", "workers/search/http/stored.py"),
    ),
    Elsewhere(
        "tests/workers/search/http/routes/test_suggestion_routes.py",
        "asked over HTTP, as a caller would",
        ("workers/search/find/goes_with.py",),
    ),
    Elsewhere(
        "tests/groknet/change_over/test_change_over.py",
        "a change of the model under running workers",
        (
            "groknet/commands/operation/backfill.py",
            "groknet/commands/operation/epoch.py",
            "workers/search/http/switchboard.py",
        ),
    ),
    Elsewhere(
        "tests/groknet/change_over/test_upgrade.py",
        "the command prints the steps of one upgrade",
        ("groknet/commands/operation/upgrade.py",),
    ),
    Elsewhere(
        "tests/workers/search/http/openapi/test_document.py",
        "the document is made of these",
        ("workers/search/http/openapi/parts.py", "workers/search/http/openapi/suggestion_paths.py"),
    ),
    Elsewhere(
        "tests/workers/stores/embedded/test_store.py",
        "what the embedded back ends share",
        ("workers/sqlite.py",),
    ),
    Elsewhere(
        "tests/workers/stores/cassandra/test_migrations.py",
        "migrations need a real node",
        ("groknet/commands/operation/store.py", "workers/stores/schema.py"),
    ),
    Elsewhere(
        "tests/workers/tagger/test_pipeline.py",
        "the stages of one event, which the tagger's pipeline runs through",
        (
            "workers/stages/infer.py",
            "workers/stages/job.py",
            "workers/stages/settle.py",
            "workers/tagger/build.py",
        ),
    ),
    Elsewhere(
        "tests/workers/tagger/test_endings.py",
        "how an event ends that fails, and how its dead letter is sent again",
        (
            "groknet/submitting/dead_letters.py",
            "workers/stages/failures.py",
            "workers/stages/moved_photos.py",
        ),
    ),
    Elsewhere(
        "tests/workers/tagger/test_hold.py",
        "events wait there while a hold lasts",
        ("workers/tagger/waiting_room.py",),
    ),
    Elsewhere(
        "tests/groknet/diagnosis/test_whereabouts.py",
        "`groknet where` asks every tagger what it has in hand",
        ("groknet/commands/listings/where.py", "workers/tagger/completion/in_hand.py"),
    ),
    Elsewhere(
        "tests/groknet/commands/models/test_evaluate.py",
        "one evaluation, read from the command's output and from its report",
        (
            "training/evaluation/folder.py",
            "training/evaluation/html.py",
            "training/evaluation/plots.py",
        ),
    ),
    Elsewhere(
        "tests/training/evaluation/test_metrics.py",
        "figures are metrics of scored photos",
        ("training/evaluation/scoring.py",),
    ),
    Elsewhere(
        "tests/training/test_training_run.py",
        "the card describes a bundle that was trained",
        ("training/bundle/card.py",),
    ),
    Elsewhere(
        "tests/training/loop/test_objective.py",
        "losses are computed from batches",
        ("training/loop/batch.py",),
    ),
    Elsewhere(
        "tests/training/readers/layouts/test_layouts.py",
        "every layout on a tiny tree of its form",
        (
            "training/readers/layouts/aliproducts.py",
            "training/readers/layouts/inshop.py",
            "training/readers/layouts/products10k.py",
            "training/readers/layouts/webdataset.py",
        ),
    ),
    Elsewhere(
        "tests/groknet/cli/test_app.py",
        "the command line as its user sees it",
        ("groknet/cli/command_table.py",),
    ),
    Elsewhere(
        "tests/groknet/test_groknet_flow.py",
        "commands against one set of running workers, which take seconds to start",
        (
            "groknet/commands/listings/search.py",
            "groknet/commands/listings/show.py",
            "groknet/diagnosis/installation_checks.py",
        ),
    ),
    Elsewhere(
        "tests/groknet/commands/models/test_export.py",
        "a reference bundle is exported for phones, too",
        ("groknet/commands/models/reference.py",),
    ),
    Elsewhere(
        "tests/groknet/commands/models/test_train.py",
        "an export recalls the run that was trained",
        ("groknet/commands/models/training_runs.py",),
    ),
    Elsewhere(
        "tests/groknet/commands/models/test_engine.py",
        "the command builds a folder of engines and opens it again",
        ("engines/recognition/engine_folder.py",),
    ),
    Elsewhere(
        "tests/groknet/commands/models/test_bundle.py",
        "read as the command's user reads it",
        ("engines/recognition/bundles/diff.py",),
    ),
    Elsewhere(
        "tests/groknet/home/test_taggers.py",
        "workers as processes, which announce themselves, wait for services, and open their back ends",
        (
            "groknet/home/running.py",
            "groknet/run/open_back_ends.py",
            "groknet/run/opening.py",
        ),
    ),
    Elsewhere(
        "tests/groknet/importing/test_formats.py",
        "each feed is read through the door of all formats",
        (
            "groknet/importing/google.py",
            "groknet/importing/google_xml.py",
            "groknet/importing/json_ld.py",
            "groknet/importing/json_values.py",
            "groknet/importing/rows.py",
            "groknet/importing/shopify.py",
            "groknet/importing/woocommerce.py",
        ),
    ),
    Elsewhere(
        "tests/groknet/fetching/test_crawl.py",
        "what a crawl goes on from after it was interrupted",
        ("groknet/fetching/progress_file.py",),
    ),
    Elsewhere(
        "tests/groknet/gallery/test_failing.py",
        "the page shows the groups",
        ("groknet/gallery/page.py",),
    ),
    Elsewhere(
        "tests/groknet/commands/gallery/test_searches.py",
        "the commands of one home with kept searches",
        ("groknet/commands/gallery/feedback.py",),
    ),
    Elsewhere(
        "tests/workers/search/http/routes/test_feedback_routes.py",
        "asked over HTTP, as a caller would",
        ("workers/search/http/keeping.py",),
    ),
    Elsewhere(
        "tests/groknet/commands/operation/test_run.py",
        "all workers composed, as processes",
        ("groknet/run/process.py",),
    ),
    Elsewhere(
        "tests/schemas/test_event_dialects.py",
        "a time is one of the things that senders write in several ways",
        ("schemas/event_times.py",),
    ),
    Elsewhere(
        "tests/engines/pixels/test_strangers.py",
        "each photo goes through all of these, and its pixels are compared with another decoder's",
        (
            "engines/pixels/formats/_bits.py",
            "engines/pixels/formats/cicp.py",
            "engines/pixels/formats/header.py",
            "engines/pixels/formats/heif.py",
            "engines/pixels/formats/jpeg.py",
            "engines/pixels/formats/png.py",
        ),
    ),
    Elsewhere(
        "tests/engines/pixels/test_memory.py",
        "a cost is right if the measured memory stays below it",
        ("engines/pixels/cost.py",),
    ),
    Elsewhere(
        "tests/engines/recognition/test_hostile_bundles.py",
        "each hostile bundle is refused by one of these",
        (
            "engines/recognition/bundles/external_data.py",
            "engines/recognition/bundles/parity_file.py",
        ),
    ),
    Elsewhere(
        "tests/engines/recognition/test_applicability.py",
        "what the engine answers with and without applicability",
        ("engines/recognition/outputs/answer.py",),
    ),
    Elsewhere(
        "tests/workers/search/http/test_hostile_clients.py",
        "raw sockets against the running service",
        ("workers/http/connections.py",),
    ),
    Elsewhere(
        "tests/workers/search/http/test_params.py",
        "limits that requests meet",
        ("workers/search/settings.py",),
    ),
    Elsewhere(
        "tests/workers/watching/test_metrics.py",
        "every declaration is checked there",
        ("workers/watching/declared.py",),
    ),
    Elsewhere(
        "tests/workers/intake/test_fetch_pool.py",
        "the pool and the stage that fills it",
        (
            "workers/intake/pool.py",
            "workers/stages/fetch.py",
        ),
    ),
    Elsewhere(
        "tests/training/bundle/applying/test_sigmoids.py",
        "fitting, applying and exporting are one computation",
        (
            "training/bundle/applying/features.py",
            "training/bundle/applying/finish.py",
            "training/bundle/applying/graph.py",
            "training/bundle/applying/mix.py",
        ),
    ),
    Elsewhere(
        "tests/training/bundle/probabilities/test_thresholds.py",
        "silence is what no threshold allows",
        ("training/bundle/probabilities/silence.py",),
    ),
    Elsewhere(
        "tests/training/readers/test_broken_data_sets.py",
        "verdicts on broken tables and folders, written by hand",
        (
            "training/readers/cautions.py",
            "training/readers/photo_paths.py",
            "training/readers/table_file.py",
        ),
    ),
    Elsewhere(
        "tests/training/readers/layouts/test_layouts.py",
        "one suite reads every layout",
        (
            "training/readers/layouts/class_folders.py",
            "training/readers/layouts/csv_table.py",
        ),
    ),
    Elsewhere(
        "tests/engines/detection/test_engine.py",
        "an engine opens a bundle, and is what the interface says",
        ("engines/detection/bundle.py", "engines/detection/interface.py"),
    ),
    Elsewhere(
        "tests/groknet/commands/models/test_detector.py",
        "one detector is trained, and every command is run on it",
        (
            "engines/detection/precision.py",
            "engines/detection/speed.py",
            "training/detection/bundle/card.py",
            "training/detection/bundle/phone.py",
            "training/detection/evaluation/evaluate.py",
            "training/detection/evaluation/of_run.py",
        ),
    ),
    Elsewhere(
        "tests/training/detection/loop/test_train.py",
        "a state is what a run is resumed from",
        ("training/detection/loop/state.py",),
    ),
    Elsewhere(
        "tests/training/detection/networks/test_networks.py",
        "one suite runs over every network",
        (
            "training/detection/networks/build.py",
            "training/detection/networks/interface.py",
            "training/detection/networks/pyramid.py",
            "training/detection/networks/single_stage.py",
            "training/detection/networks/small.py",
            "training/detection/networks/torchvision_models.py",
        ),
    ),
    Elsewhere(
        "tests/training/cleaning/copies/groups/test_joined.py",
        "what found what within one large group, which its groups hand out",
        ("training/cleaning/copies/groups/links.py",),
    ),
    Elsewhere(
        "tests/training/cleaning/copies/test_duplicates.py",
        "the marks of a folder: which photo of a group is best, and the groups whose photos are all compared",
        ("training/cleaning/copies/groups/small_groups.py", "training/cleaning/copies/marking.py"),
    ),
    Elsewhere(
        "tests/training/cleaning/test_steps.py",
        "one cleaning, whose marks become a table and a report",
        (
            "training/cleaning/report.py",
            "training/cleaning/table.py",
        ),
    ),
    Elsewhere(
        "tests/training/weak/test_nearest_product.py",
        "the table that weak labels write",
        ("training/weak/label_files.py",),
    ),
    Elsewhere(
        "tests/training/boxes/test_rounds.py",
        "parts of one round: what is kept, asked, known, learned and saved",
        (
            "training/boxes/asking.py",
            "training/boxes/lessons.py",
            "training/boxes/saved.py",
            "training/boxes/table.py",
        ),
    ),
    Elsewhere(
        "tests/groknet/commands/models/test_boxes.py",
        "the commands read a table of boxes",
        ("training/boxes/formats/any_format.py",),
    ),
    Elsewhere(
        "tests/training/boxes/formats/test_coco.py",
        "which photo, which sides and which box are rules of all formats",
        ("training/boxes/formats/found.py",),
    ),
    Elsewhere(
        "tests/training/review/test_app.py",
        "asked over HTTP, as the page asks",
        ("training/review/photos.py", "training/review/values.py"),
    ),
)
