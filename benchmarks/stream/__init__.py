"""Workers and the stream path: cost, memory, start, outages, long runs, and what watching them costs."""
