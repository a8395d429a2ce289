"""Templates for the graph editor, their form for the API, and a way to run them without the editor."""
