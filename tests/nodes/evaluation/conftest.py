import isengard.nodes  # noqa: F401  (before ComfyUI can be imported, which would make it register with a server)
from isengard.tests.trainers.conftest import load_all  # noqa: F401  (a fixture)
