"""HOME: its folder, configuration, running workers, taggers, and the epoch in force."""
