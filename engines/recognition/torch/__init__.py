"""The torch back end: a bundle's ONNX graph, run by torch functions on a CPU or a GPU.

Start at `open`, which picks `cpu` or `gpu`. `graph` turns the ONNX graph into a torch module; `operators` has one torch
function for each ONNX operator. Only `build_engine` imports this package, because torch is optional.
"""
