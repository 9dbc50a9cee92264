"""The TensorRT back ends: TensorRT (10, 11) and TensorRT for RTX, which share one API.

Ahead of time, for RTX also without a GPU: `build` adapts a bundle's graph (`gpu_graph`), compiles it (`plan`) and keeps
the plan with a manifest that says what it fits (`cache`, `manifest`). At run time, `backend` finds or builds a plan and
opens it, and `execution` enqueues it. `library` imports one of the two libraries, not before it is needed.
"""
