"""The network: a trunk, its pooling, linear heads, an embedding and a hash layer. `model.py` shows all of it."""
