"""Compiles a graph: parse, add one profile for each batch size, build. TensorRT for RTX needs no GPU for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engines.gpu.profiles import Profiles
from engines.recognition.tensorrt.library import Library
from schemas.errors import BundleRefused, ConfigError
from schemas.manifest import Strict

PORTABLE = "portable"
"""Target: a plan for any supported GPU. TensorRT for RTX compiles its kernels there, in seconds."""
THIS_GPU = "this"
"""Target: a plan for the GPU of the machine that builds it. TensorRT proper has no other target."""


class Tensor(Strict, frozen=True, kw_only=True):
    """An input or output as the library describes it. A size of -1 is the number of photos."""

    name: str
    mode: str
    dtype: str
    shape: list[int]


@dataclass(frozen=True, eq=False)
class Plan:
    """A compiled plan, its inputs and outputs, and the number of its profiles."""

    data: bytes
    tensors: list[Tensor]
    profiles: int


def targets(library: Library) -> tuple[str, ...]:
    """Return the targets of `build_plan`: `portable` and compute capabilities (`sm89`), or `this` GPU."""
    if library.name == "tensorrt":
        return (THIS_GPU,)
    names = [name.lower() for name in library.module.ComputeCapability.__members__ if name.startswith("SM")]
    return (PORTABLE, *sorted(names, key=lambda name: int(name[2:])))


def build_plan(
    library: Library,
    graph: bytes,
    profiles: Profiles,
    target: str,
    progress: Callable[[float], None] | None = None,
) -> Plan:
    """Compile a graph that `prepare` has adapted. The network is strongly typed: the graph's types are its precision.

    Args:
        library: TensorRT or TensorRT for RTX.
        graph: serialised ONNX with one input, uint8 [n, h, w, 3].
        profiles: batch sizes.
        target: one of `targets(library)`.
        progress: called with the share that is done, 0..1. It never decreases.

    Raises:
        ConfigError: the library does not build for the target, or it needs a GPU and there is none.
        BundleRefused: the library refuses the graph. The message has its last line.
    """
    known = targets(library)
    if target not in known:
        raise ConfigError(f"--target: {library.name} builds for {', '.join(known)}, not for {target}")
    trt = library.module
    builder = trt.Builder(library.log)
    if not builder:
        raise ConfigError(f"backend: {library.name} builds only where a GPU is ({library.log.last})")
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, library.log)
    if not parser.parse(graph):
        raise library.refused("model.onnx")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # FP32 is the reference, and TF32 has only ten bits of mantissa
    _add_profiles(library, builder, config, network.get_input(0), profiles)
    if target not in (PORTABLE, THIS_GPU):
        config.num_compute_capabilities = 1
        if not config.set_compute_capability(trt.ComputeCapability.__members__[target.upper()], 0):
            raise ConfigError(f"--target: {library.name} refuses {target} ({library.log.last})")
    monitor = _monitor(trt, progress or (lambda _: None))
    config.progress_monitor = monitor
    data = builder.build_serialized_network(network, config)
    if monitor.interrupted:
        raise KeyboardInterrupt
    if data is None:
        raise library.refused("model.onnx")
    return Plan(bytes(data), _tensors(network), int(config.num_optimization_profiles))


def _add_profiles(library: Library, builder: Any, config: Any, photos: Any, profiles: Profiles) -> None:
    if photos.dtype != library.module.DataType.UINT8 or len(photos.shape) != 4:
        raise BundleRefused(f"model.onnx: the input is {photos.dtype} {list(photos.shape)}, not uint8 [n, h, w, 3]")
    size = tuple(photos.shape)[1:]
    for place, batch in enumerate(profiles.batches):
        profile = builder.create_optimization_profile()
        profile.set_shape(photos.name, (1, *size), (batch, *size), (batch, *size))
        if config.add_optimization_profile(profile) != place:
            raise library.refused(f"--batch: a profile of {batch} photos")


def _tensors(network: Any) -> list[Tensor]:
    found = [("input", network.get_input(i)) for i in range(network.num_inputs)]
    found += [("output", network.get_output(i)) for i in range(network.num_outputs)]
    return [
        Tensor(name=t.name, mode=mode, dtype=_DTYPES.get(t.dtype.name, t.dtype.name), shape=list(t.shape))
        for mode, t in found
    ]


_DTYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT32": "int32", "INT64": "int64"}


class Share:
    """The share of a build that is done, from nested phases. It never decreases."""

    def __init__(self) -> None:
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # name → parent, steps, done
        self.value = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins. It is a step of `parent`."""
        self._phases[name] = (parent, max(steps, 1), 0)

    def step(self, name: str, step: int) -> None:
        """A phase has finished its step number `step`, counted from 0."""
        if name in self._phases:
            parent, steps, _ = self._phases[name]
            self._phases[name] = (parent, steps, min(step + 1, steps))
            roots = [phase for phase, (above, _, _) in self._phases.items() if above not in self._phases]
            self.value = max(self.value, min(1.0, max(map(self._of, roots), default=0.0)))

    def finish(self, name: str) -> None:
        """A phase ends. The last one ends the build."""
        self._phases.pop(name, None)
        if not self._phases:
            self.value = 1.0

    def _of(self, name: str) -> float:
        _, steps, done = self._phases[name]
        inner = [self._of(phase) for phase, (above, _, _) in self._phases.items() if above == name]
        return (done + max(inner, default=0.0) * (done < steps)) / steps


def _monitor(trt: Any, progress: Callable[[float], None]) -> Any:
    share = Share()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base class comes from the installed library
        """Reports phases as one share. It must not raise through the library, so an interrupt only stops the build."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            share.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            share.step(name, step)
            self._tell()
            return not self.interrupted

        def phase_finish(self, name: str) -> None:
            share.finish(name)
            self._tell()

        def _tell(self) -> None:
            try:
                progress(share.value)
            except KeyboardInterrupt:
                self.interrupted = True

    return Monitor()
