"""Characters: who they are, their reference pictures and the LoRAs that were trained of them, kept on disk."""
