"""Training of adapters on frozen diffusion models, in plain torch and peft. Knows nothing of nodes."""
