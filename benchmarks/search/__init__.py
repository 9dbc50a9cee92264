"""Search and its index: what is found, in which order, how fast, and with how much memory."""
