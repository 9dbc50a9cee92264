"""Every back end that needs no GPU, in one run: `python -m benchmarks.engine.engines`.

It measures two networks: ResNeXt-101 32x4d with random weights at 224 pixels, and a bundle (by default the demo's). It
reports medians of throughput at batch 8 and latency at batch 1 of the bare back ends, measured in turn, and how much
each differs from ONNX Runtime in FP32 on studio photos that INT8 was not calibrated on. With `--data`, a folder with a
labels.csv of catalogue pictures and photos of the same products, it also reports Recall@1.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import page, parser, table, versions, write_page
from engines.pixels import decode
from engines.recognition import Bundle, load_bundle
from engines.recognition.engine import open_backend
from engines.recognition.interface import Backend
from engines.recognition.parity_gate import compare
from engines.recognition.precision import Precision, write_bundle
from schemas.errors import Invalid
from schemas.manifest import Preprocess
from training.bundle.reference import write_reference
from training.evaluation import evaluate
from training.readers import read
from training.studio import TEST_IDENTITIES, TRAIN_IDENTITIES, make_product, render

Photos = NDArray[np.uint8]
Folders = dict[tuple[str, Precision], Path]
BATCH = 8
CASES: list[tuple[str, Precision]] = [
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "int8"),
    ("openvino", "fp16"),
    ("onnxruntime", "int8"),
    ("torch", "fp32"),
    ("torch", "fp16"),
]


@dataclass
class Case:
    """One open back end at one precision, and its measurements."""

    name: str
    precision: Precision
    backend: Backend
    batch_s: list[float] = field(default_factory=list)
    single_s: list[float] = field(default_factory=list)

    @property
    def images_per_s(self) -> float:
        return BATCH / statistics.median(self.batch_s)

    @property
    def latency_ms(self) -> float:
        return 1000 * statistics.median(self.single_s)


def studio(identities: Sequence[int], preprocess: Preprocess) -> Photos:
    """One photo of each product, uint8 [n, h, w, 3]."""
    size = (preprocess.width, preprocess.height)
    return np.stack([render(make_product(identity), 0, "natural", size=size).pixels for identity in identities])


def from_folder(data: Path, preprocess: Preprocess, count: int) -> Photos:
    """`count` photos of `data` that are not of its test split, evenly spread."""
    rows = [row for row in read("csv", data).rows if row["split"] != "test"]
    found = []
    for row in rows[:: max(1, len(rows) // count)][:count]:
        try:
            found.append(decode((data / row["path"]).read_bytes(), preprocess))
        except Invalid:
            continue
    return np.stack(found)


def bundles(folder: Path, float_bundle: Path, calibration: Photos) -> Folders:
    """The same network for each case. INT8 is made for its back end, as `groknet engine build` does."""
    made: Folders = {}
    for name, precision in CASES:
        made[name, precision] = float_bundle
        if precision != "fp32":
            made[name, precision] = folder / f"{name}-{precision}"
            write_bundle(float_bundle, made[name, precision], precision, calibration, name)
    return made


def speeds(folders: Folders, photos: Photos, repeats: int, threads: int) -> list[Case]:
    """Open every case, then measure all of them in turn, `repeats` times."""
    cases = [Case(name, p, open_backend(load_bundle(folders[name, p]), name, threads)) for name, p in CASES]
    for case in cases:
        case.backend.run(photos[:BATCH])  # warm
        case.backend.run(photos[:1])
    for _ in range(repeats):
        for case in cases:
            case.batch_s.append(_seconds(case.backend, photos[:BATCH]))
            case.single_s.append(statistics.median(_seconds(case.backend, photos[:1]) for _ in range(3)))
    return cases


def _seconds(backend: Backend, batch: Photos) -> float:
    started = time.perf_counter()
    backend.run(batch)
    return time.perf_counter() - started


def outputs(backend: Backend, photos: Photos) -> dict[str, NDArray[np.generic]]:
    """The raw outputs for all photos, in batches."""
    parts = [backend.run(photos[i : i + BATCH]) for i in range(0, len(photos), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows(cases: Sequence[Case], bundle: Bundle, photos: Photos) -> list[list[str]]:
    """A table's rows: speed, ratio to the first case, and parity with it."""
    expected = outputs(cases[0].backend, photos)
    found = []
    for case in cases:
        got = outputs(case.backend, photos)
        figures = compare(bundle.manifest, expected, got)
        cosine = 1 - figures.embedding**2 / 2  # of two unit vectors that far apart
        found.append(
            [
                case.name,
                {"fp16": "half"}.get(case.precision, case.precision.upper()),
                f"{case.images_per_s:.1f}",
                f"{case.images_per_s / cases[0].images_per_s:.2f}",
                f"{case.latency_ms:.1f}",
                f"{100 * figures.label_agreement:.1f} %",
                f"{figures.probability_mean:.4f}",
                f"{cosine:.4f}",
                f"{100 * figures.hash_flips:.2f} %",
            ]
        )
    return found


HEADER = [
    "back end",
    "precision",
    "images/s",
    "ratio",
    "ms at batch 1",
    "equal best labels",
    "probability apart, mean",
    "least cosine",
    "flipped bits",
]


NOTE = """Batch 8, two threads, medians of rounds in turn, with the ratio to ONNX Runtime in FP32. *half* is a bundle
whose trunk is in FP16; OpenVINO and torch compute it in bfloat16 where the processor has it. The columns after the
speeds compare with ONNX Runtime in FP32 on studio photos. *Least cosine* is the smallest cosine of a photo's two
embeddings."""


def network(title: str, float_bundle: Path, scratch: Path, options: argparse.Namespace, data: Path | None) -> str:
    """The table of one network, and Recall@1 if a folder is given."""
    bundle = load_bundle(float_bundle)
    preprocess = bundle.manifest.preprocess
    calibration = studio(TRAIN_IDENTITIES[: options.calibration], preprocess)
    if data is not None:
        calibration = from_folder(data, preprocess, options.calibration)
    folders = bundles(scratch, float_bundle, calibration)
    photos = studio(TEST_IDENTITIES[: options.photos], preprocess)
    cases = speeds(folders, photos, options.repeats, options.threads)
    text = f"## {title}\n\n{table(HEADER, rows(cases, bundle, photos))}"
    for case in cases:
        case.backend.close()
    return text if data is None else f"{text}\n\n{recall(folders, data)}"


def recall(folders: Folders, data: Path) -> str:
    """Photo → catalogue picture of the same product, over the folder's test photos."""
    found = []
    for name, precision in CASES[:4]:
        retrieval = evaluate(folders[name, precision], data, backend=name)["retrieval"]
        by_hash, by_float = retrieval["hash"], retrieval["float"]
        shares = (by_hash["recall_at_1"], by_float["recall_at_1"])
        cells = ["–" if share is None else f"{100 * share:.2f} %" for share in shares]
        found.append([name, precision, f"{by_hash['n']:.0f}", *cells])
    return table(["back end", "precision", "photos", "Recall@1 by hash", "Recall@1 by embedding"], found)


def main() -> None:
    """Read the options, measure, and print or write the page."""
    options_of = parser(__doc__, tells="page", bundle=True, repeats=7)
    options_of.add_argument("--data", type=Path, help="folder with labels.csv: Recall@1, and photos to calibrate on")
    options_of.add_argument("--threads", type=int, default=2, help="of each back end (default 2)")
    options_of.add_argument("--photos", type=int, default=32, help="photos to compare on (default 32)")
    options_of.add_argument("--calibration", type=int, default=48, help="photos to calibrate INT8 on (default 48)")
    options_of.add_argument("--no-resnext", action="store_true", help="leave out the large network")
    options = options_of.parse_args()
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "small").mkdir()
        parts.append(network("The bundle", options.bundle, scratch / "small", options, options.data))
        if not options.no_resnext:
            write_reference(scratch / "resnext")
            (scratch / "large").mkdir()
            large = network("ResNeXt-101 32x4d, random weights", scratch / "resnext", scratch / "large", options, None)
            parts.append(large)
    command = f"python -m benchmarks.engine.engines --threads {options.threads} --repeats {options.repeats}"
    command += f" --photos {options.photos}{f' --data PHOTOS/{options.data.name}' if options.data else ''}"
    packages = versions("onnxruntime", "openvino", "torch", "numpy")
    text = page("Engines without a GPU", command, packages, "\n\n".join([NOTE, *parts]))
    write_page(text, options.out)


if __name__ == "__main__":
    main()
