"""Shapes of products: meshes, the ways to build them, and which product has which."""
