"""Workers as processes: how they are composed, started, supervised, announced and stopped."""
