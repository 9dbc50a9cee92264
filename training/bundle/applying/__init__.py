"""To which photos heads apply: features of photos, a sigmoid a data set, the graph, and the last step of a bundle."""
