"""A small base model that ships with the pack, and the scripts that made it; see README.md."""
