"""Training a LoRA in the graph."""
