"""Typed queries: an index from labels and words of titles to listings, kept live, and searches in it."""
