"""A real ComfyUI for the tests and the demo: prepared once, booted as its own process, ended cleanly."""
