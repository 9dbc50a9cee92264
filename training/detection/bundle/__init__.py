"""From a trained detector to a bundle: graph, parity photos, manifest, card, and the same for phones."""
