"""Reads the product feeds of shops, and makes listing events of them."""
