"""Pictures of the character."""
