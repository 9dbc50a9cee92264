"""What a run learns from: decoded photos, labels, what the frozen trunk says of each photo, and batches of them."""
