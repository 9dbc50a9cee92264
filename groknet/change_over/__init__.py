"""The change from one epoch to another: which workers take part, the back-fill, and the file of older versions."""
