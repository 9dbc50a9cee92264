"""Commands that grow the gallery."""
