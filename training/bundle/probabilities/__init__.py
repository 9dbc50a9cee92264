"""From scores to probabilities that hold, and from a precision to the probability from which labels are offered."""
