"""Workers as processes: put together from the configuration, started, supervised, announced, stopped."""
