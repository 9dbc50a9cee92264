"""What an engine answers: calibrated labels, the hash and its layer, from the raw outputs of a back end."""
