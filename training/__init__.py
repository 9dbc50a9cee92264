"""What makes a bundle: data sets, the network, its losses, the training loop, the export, and measuring.

The way of a run: `recipe.load_recipe` → `loop.train.train` → `bundle.export.export`, which measures with `evaluation`.
`README.md` says which room has what. The rooms `studio`, `readers`, `recipe`, `evaluation` and `weak` do without torch.
`training` imports `engines` and `schemas`; of the rooms of this repository only `groknet` and `benchmarks` import it.
"""
