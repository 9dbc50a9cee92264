"""The engine and the decoder alone: back ends, GPUs, photos a second."""
