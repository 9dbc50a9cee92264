"""What makes a bundle: data sets and cleaning, trunk, heads, losses, trainer, hash, calibration, evaluation, export.

Here and nowhere else lives torch (`studio`, `evaluation`, `table`, `queries`, `recipe` and `hashing` do without it).
Nothing imports this room from below; it imports `engines` to check what it exports, and `schemas`.

The way of a run: `recipe.load_recipe` → `train.train` → `export.export`, which measures with `evaluation`.
"""
