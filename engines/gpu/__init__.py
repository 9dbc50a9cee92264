"""One NVIDIA GPU: the driver, its two bindings, batch sizes, and two batches that overlap.

`driver` is the interface to the CUDA driver and its errors; `cuda_bindings` and `pycuda_driver` implement it, and
`open` picks the one that works here. `profiles` says which batch sizes an engine is compiled for. `overlap` copies one
batch in while another computes. Photos (`engines/pixels`) and both GPU back ends (`engines/recognition`) use this room.
"""
