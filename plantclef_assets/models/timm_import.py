"""Importing timm if torchvision's compiled operators do not fit the installed torch.

Package indexes can pair a CPU build of torch with a CUDA build of torchvision. `import torchvision`, and so
`import timm`, then raises ``RuntimeError: operator torchvision::nms does not exist``: torchvision decorates that
operator in Python, although its compiled library, which declares it, could not be loaded. timm uses only the transforms
of torchvision, so declaring the operators is enough. `torchvision.ops.nms` and `torchvision.io` remain unusable; this
package does not use them.
"""

import importlib
import sys
import threading
from types import ModuleType

import torch

_MISSING_OPERATOR = "torchvision::nms"
"""The operator in the error of mismatched builds; other errors are raised."""

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Schemas from torchvision/csrc/ops/nms.cpp and torchvision/csrc/ops/quantized/cpu/qnms_kernel.cpp."""

_lock = threading.RLock()
_declared: list[torch.library.Library] = []
"""Keeps the declaration alive: torch withdraws the operators of a library that is garbage-collected."""


def import_timm() -> ModuleType:
    """Import timm and return it, after declaring torchvision's missing operators if needed.

    If the compiled operators load, this is a plain import. It can be called any number of times and from several
    threads; in every process it must run before anything else imports timm or torchvision.

    Raises:
        RuntimeError: torchvision cannot be imported for another reason.
        ImportError: timm or torchvision is not installed.
    """
    with _lock:
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if _MISSING_OPERATOR not in str(error) or _declared:
                raise
            _declare_missing_operators()
            importlib.import_module("torchvision")
        return importlib.import_module("timm")


def _declare_missing_operators() -> None:
    """Remove the partially imported torchvision and declare the operators of its compiled library."""
    for name in [name for name in sys.modules if name.split(".", maxsplit=1)[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
