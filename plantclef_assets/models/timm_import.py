"""Importing timm where torchvision's compiled operators do not fit the installed torch.

Package indexes may pair a CPU build of torch with a CUDA build of torchvision. `import torchvision`, and so
`import timm`, then raises ``RuntimeError: operator torchvision::nms does not exist``: torchvision decorates that
operator in Python although its compiled library, which declares it, could not be loaded. timm only uses the
transforms of torchvision, so declaring the operators is enough. `torchvision.ops.nms` and `torchvision.io`
stay unusable there, and nothing in this package uses them.
"""

import importlib
import sys
import threading
from types import ModuleType

import torch

_MISSING_OPERATOR = "torchvision::nms"
"""What the error of the mismatched build names; any other error is not ours to hide."""

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Schemas from torchvision/csrc/ops/nms.cpp and torchvision/csrc/ops/quantized/cpu/qnms_kernel.cpp."""

_lock = threading.RLock()
_declared: list[torch.library.Library] = []
"""Keeps the declaration alive: torch withdraws the operators of a library that is garbage-collected."""


def import_timm() -> ModuleType:
    """Import timm and return it, declaring torchvision's missing operators first where that is needed.

    Where the compiled operators load this is a plain import. It may be called any number of times and from
    several threads; it must run, in every process, before anything else imports timm or torchvision.

    Raises:
        RuntimeError: torchvision cannot be imported for a reason other than the missing operators.
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
    """Forget the half-imported torchvision and declare the operators it expects of its compiled library."""
    for name in [name for name in sys.modules if name.split(".", maxsplit=1)[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
