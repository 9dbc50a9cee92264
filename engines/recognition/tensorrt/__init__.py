"""A bundle on an NVIDIA GPU, by TensorRT (10, 11) or TensorRT for RTX, whichever is installed: the two share one API.

Ahead of time, also without a GPU: `graph` adapts a bundle's graph, `plan` compiles it, `cache` keeps the plan with the
manifest that says what it fits. At run time: `cuda` is the driver's boundary, `overlap` keeps copy-in, compute and
copy-out of two batches going at once, `backend` is what `build_engine` sees. Neither library is imported before that.
"""
