"""Groups of photos that may be one picture, and which of each group stays."""
