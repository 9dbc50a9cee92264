"""What the servers run on: pinned jars and the Java runtime, downloaded once and verified."""
