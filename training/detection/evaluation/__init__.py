"""How well a detector finds products: average precision and the subject's box, on photos with known boxes."""
