"""One module for each layout in which data sets lie on a disk. `readers/registry.py` gives each its name."""
