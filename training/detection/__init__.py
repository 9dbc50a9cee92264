"""Detectors: networks that find the products in a photo. Boxes in, a detector bundle for `engines/detection` out."""
