"""Settings of a training run: presets, and each group of settings."""
