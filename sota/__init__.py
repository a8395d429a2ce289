"""Models that the pack knows, and the sample character that ships with it."""
