"""The change from one epoch to another: who takes part, the back-fill, and the record of older versions."""
