"""`groknet engine`: build, inspect, verify and benchmark engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter
from rich.table import Table

from groknet.cli.exits import CommandError, Exit
from groknet.cli.options import JsonOption
from groknet.cli.terminal import json_line, note, progress, stdout
from schemas.errors import ConfigError

Backend = Literal["tensorrt", "tensorrt_rtx", "openvino", "onnxruntime", "torch"]
FolderArgument = Annotated[Path, Parameter(help="Folder of an engine or of a bundle.")]
BackendOption = Annotated[
    Backend | None,
    Parameter(help="Back end that runs it. Default: the one that the folder was built for, onnxruntime for a bundle."),
]
_GPU_BACKENDS = ("tensorrt", "tensorrt_rtx")


def build(
    bundle: Annotated[Path, Parameter(help="Folder of an FP32 bundle.")],
    /,
    *,
    backend: Annotated[Backend, Parameter(help="Back end that will run it.")],
    out: Annotated[Path, Parameter(help="Folder to create.")],
    precision: Annotated[Literal["fp32", "fp16", "int8"], Parameter(help="Number format of the network.")] = "fp32",
    batch: Annotated[str, Parameter(help="TensorRT: batch sizes, with one profile each.")] = "1,8,32",
    photos: Annotated[Path | None, Parameter(help="Folder of typical photos. INT8 needs about 64.")] = None,
    target: Annotated[
        str | None,
        Parameter(
            help="TensorRT for RTX: portable, or a compute capability such as sm89. TensorRT builds for this GPU."
        ),
    ] = None,
    json: JsonOption = False,
) -> Exit:
    """Build an engine folder from a bundle, for a back end and a precision.

    The folder holds the bundle in that precision. The build fails if its outputs differ too much from the FP32 outputs.
    For TensorRT the folder also holds the compiled plan with its manifest. To use the folder, set engine.bundle to it.
    It remembers its back end.

    tensorrt_rtx compiles without a GPU, for all supported GPUs or for one kind. tensorrt compiles for the GPU of this
    machine.
    """
    _there("bundle", bundle)
    if photos is not None:
        _there("--photos", photos)
    if target is not None and backend not in _GPU_BACKENDS:
        raise CommandError(f"--target: {backend} compiles for no GPU; leave it out", Exit.USAGE)
    from engines.gpu.profiles import Profiles
    from engines.recognition.engine_folder import build_folder, describe

    profiles = Profiles.parse(batch)
    with progress() as bar:
        task = bar.add_task(f"{backend} {precision}", total=1.0)
        engine = build_folder(
            bundle,
            out,
            backend=backend,
            precision=precision,
            profiles=profiles,
            photos=photos,
            target=target,
            progress=lambda share: bar.update(task, completed=share),
        )
        bar.update(task, completed=1.0)
    if json:
        json_line({"folder": str(out), "backend": backend, **describe(out)})
    else:
        size = f", plan of {engine.plan_bytes / 1e6:.1f} MB in {engine.build_seconds:.1f} s" if engine else ""
        note(f"engine {out}: {backend}, {precision}{size}")
    return Exit.OK


def inspect(folder: FolderArgument, /, *, json: JsonOption = False) -> Exit:
    """Show what an engine folder holds: model, epoch, precision and the compiled plans.

    For each plan it shows the library, the target, the profiles, inputs, outputs, the size and the parity check.
    """
    _there("folder", folder)
    from engines.recognition.engine_folder import describe

    found = describe(folder)
    if json:
        json_line(found)
        return Exit.OK
    table = Table(show_header=False, box=None)
    for name in ("bundle", "model_version", "epoch", "precision", "backend"):
        table.add_row(name, str(found[name]))
    table.add_row("photos", "uint8 [n, {}, {}, {}]".format(*found["photos"]))
    table.add_row("bytes", ", ".join(f"{name} {size:,}" for name, size in found["bytes"].items()))
    for key, plan in found["engines"].items():
        for name, text in _plan_rows(plan).items():
            table.add_row(f"{key} {name}", text)
    stdout().print(table)
    return Exit.OK


def verify(
    folder: FolderArgument,
    /,
    *,
    backend: BackendOption = None,
    json: JsonOption = False,
) -> Exit:
    """Verify the checksums, then run the parity photos through the back end.

    Without a GPU only the files of a TensorRT plan are verified. The command says so, and its exit code is 3.
    """
    _there("folder", folder)
    from engines.recognition.engine_folder import check_plans, run_parity
    from engines.recognition.own_backend import own_backend

    name = backend or own_backend(folder)
    plans = check_plans(folder)
    reason = _no_gpu() if name in _GPU_BACKENDS else ""
    if not reason:
        run_parity(folder, name)
    parity = f"not run: {reason}" if reason else "passed"
    if json:
        json_line({"folder": str(folder), "backend": name, "files": "ok", "plans": sorted(plans), "parity": parity})
    else:
        note(f"{folder}: {name}; files ok, {len(plans)} plans ok; parity {parity}")
    return Exit.NOT_RUNNING if reason else Exit.OK


def bench(
    folder: FolderArgument,
    /,
    *,
    backend: BackendOption = None,
    batch: Annotated[str, Parameter(help="Batch sizes to measure.")] = "1,8,32",
    callers: Annotated[
        int, Parameter(help="Threads that call at the same time. With 2, a GPU copies and computes at once.")
    ] = 1,
    seconds: Annotated[float, Parameter(help="Seconds to measure each batch size.")] = 3.0,
    json: JsonOption = False,
) -> Exit:
    """Measure photos per second and latency of an engine on this machine, from pixels to calibrated predictions."""
    _there("folder", folder)
    from engines.gpu.profiles import Profiles
    from engines.recognition import build_engine
    from engines.recognition.speed import measure

    if callers < 1 or seconds <= 0:
        raise CommandError("--callers, --seconds: must be above 0", Exit.USAGE)
    sizes = Profiles.parse(batch)
    engine = build_engine(folder, backend or "", max_batch=sizes.largest)
    try:
        found = [measure(engine, size, seconds=seconds, callers=callers) for size in sizes.batches]
    finally:
        engine.close()
    if json:
        for speed in found:
            json_line({"backend": engine.backend, "precision": engine.manifest.precision, **msgspec.to_builtins(speed)})
        return Exit.OK
    note(f"{folder}: {engine.backend}, {engine.manifest.precision}")
    table = Table("batch", "callers", "images/s", "p50 ms", "p99 ms", box=None)
    for speed in found:
        figures = (speed.batch, speed.callers, speed.images_per_s, speed.latency_ms_p50, speed.latency_ms_p99)
        table.add_row(*map(str, figures))
    stdout().print(table)
    return Exit.OK


def _there(what: str, folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(f"{what} {folder}: no such folder", Exit.NOT_FOUND)


def _no_gpu() -> str:
    """Why no GPU can be used here, or nothing when one can."""
    from engines.gpu.open import open_driver

    try:
        open_driver().close()
    except ConfigError as error:
        return str(error)
    return ""


def _plan_rows(plan: dict[str, Any]) -> dict[str, str]:
    device, parity = plan["device"], plan["parity"]
    return {
        "library": f"{plan['library']} {plan['library_version']}",
        "target": f"{device['name']} ({device['capability']})" if device else plan["target"],
        "profiles": ", ".join(f"{p['min']}..{p['max']} photos" for p in plan["profiles"]),
        "size": f"{plan['plan_bytes']:,} bytes, built {plan['built']} in {plan['build_seconds']} s",
        "tensors": ", ".join(f"{t['name']} {t['dtype']} {t['shape']}" for t in plan["tensors"]),
        "parity": "not run on a GPU yet" if parity is None else parity["reason"] or f"passed, {parity['checked']}",
    }
