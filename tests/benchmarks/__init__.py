"""Measurements of what the pack makes: how alike, how varied, and whether it shows what the prompt asked for."""
