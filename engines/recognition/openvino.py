"""The OpenVINO back end, on a CPU: as fast as ONNX Runtime in FP32, and faster in INT8."""

from __future__ import annotations

import queue
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

from engines.recognition.interface import GraphBundle
from schemas.errors import BundleRefused


class OpenVino:
    """One compiled model, with a request for each concurrent caller, so that no thread waits for another's buffers."""

    def __init__(self, bundle: GraphBundle, threads: int | None) -> None:
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        if bundle.manifest.precision != "fp16":
            # By default OpenVINO computes float in bfloat16 where it can. Only a half bundle wants that.
            config["INFERENCE_PRECISION_HINT"] = "f32"
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            core = ov.Core()
            model = core.read_model(bundle.model_path)
            self._check_graph(model, bundle)
            self._model = core.compile_model(model, "CPU", config)
        except RuntimeError as error:  # raised for a graph that it cannot read or compile
            text = str(error).strip().splitlines()[-1][:200]
            raise BundleRefused(f"model.onnx: OpenVINO cannot load it ({text}); export again") from None
        self._input = bundle.manifest.input
        self._outputs = list(bundle.outputs)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @staticmethod
    def _check_graph(model: Any, bundle: GraphBundle) -> None:
        inputs = {name: value.element_type.get_type_name() for value in model.inputs for name in value.names}
        if inputs != {bundle.manifest.input: "u8"}:
            raise BundleRefused(
                f"input: the manifest says {bundle.manifest.input} (u8), the graph takes {inputs}; export again"
            )
        bundle.check_graph_outputs({name for value in model.outputs for name in value.names})

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """Compute the raw outputs of uint8 [n, h, w, 3]; see `Backend.run`."""
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._model.create_infer_request()
        request.infer({self._input: photos}, share_inputs=True)
        values = {name: np.array(request.get_tensor(name).data) for name in self._outputs}  # copied: buffers are reused
        self._idle.put(request)
        return values

    def close(self) -> None:
        """See `Backend.close`."""
        del self._model, self._idle
