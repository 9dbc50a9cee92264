"""Boxes for training: tables and rendered photos, read into boxed photos, and decoded once into an array."""
