"""What `groknet doctor` checks, and where `groknet where` looks for a listing."""
