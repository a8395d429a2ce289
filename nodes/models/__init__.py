"""Models that come with the pack."""
