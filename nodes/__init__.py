"""Everything that ComfyUI sees: one room per stage, and the list of all nodes."""

try:
    import comfy_api  # noqa: F401
except ModuleNotFoundError:  # outside ComfyUI the rooms can still be imported one by one
    pass
else:
    from .extension import comfy_entrypoint  # noqa: F401
