"""Processes, ports and probes: what the servers share with the operating system."""
