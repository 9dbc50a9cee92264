"""Photos that are one picture: fingerprints, perceptual hashes, pairs, and which photo of a group stays."""
