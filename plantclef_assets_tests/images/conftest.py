"""One torch thread for the images that torch resizes."""

from plantclef_assets_tests.models.conftest import set_torch_threads  # noqa: F401
