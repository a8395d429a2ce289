"""Isengard for ComfyUI: from a few pictures of a character to a trained LoRA, inside the node graph."""

try:
    import comfy_api  # noqa: F401
except ModuleNotFoundError:  # imported outside ComfyUI, by a test or a tool
    pass
else:
    from .nodes import comfy_entrypoint  # noqa: F401

WEB_DIRECTORY = "./web"
