"""The ONNX Runtime back end, on a CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from engines.recognition.interface import GraphBundle
from schemas.errors import BundleRefused

_ERRORS_ONLY = 3


class OnnxRuntime:
    """One session. `InferenceSession.run` is thread-safe and frees the interpreter lock while it computes."""

    def __init__(self, bundle: GraphBundle, threads: int | None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0  # 0: all cores
        options.log_severity_level = _ERRORS_ONLY
        # Waiting threads sleep instead of spinning, because decoders and stream share these cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without VNNI, its fast INT8 kernels add in 16 bits and saturate. The demo bundle's embeddings would be off by
        # .11 and not .07, those of a small network by 40 times as much. Processors with VNNI ignore the entry.
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = ort.InferenceSession(str(bundle.model_path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base class
            text = str(error).splitlines()[0][:200]
            raise BundleRefused(f"model.onnx: ONNX Runtime cannot load it ({text}); export again") from None
        self._input = bundle.manifest.input
        self._outputs = self._check_graph(bundle)

    def _check_graph(self, bundle: GraphBundle) -> list[str]:
        inputs = {value.name: value.type for value in self._session.get_inputs()}
        if inputs != {self._input: "tensor(uint8)"}:
            raise BundleRefused(
                f"input: the manifest says {self._input} (uint8), the graph takes {inputs}; export again"
            )
        bundle.check_graph_outputs({value.name for value in self._session.get_outputs()})
        return list(bundle.outputs)

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """Compute the raw outputs of uint8 [n, h, w, 3]; see `Backend.run`."""
        values = self._session.run(self._outputs, {self._input: photos})
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """See `Backend.close`."""
        del self._session
