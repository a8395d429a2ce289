"""How a run went, and how well the character is met."""
