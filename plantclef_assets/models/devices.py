"""Device, precision and compilation of models, from their settings."""

import os
import shutil
from importlib.util import find_spec

import torch

DEVICES = ("auto", "cpu", "cuda", "mps")

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Possible formats of the weights and activations of a backbone; features are always float32."""

_AUTOMATIC_PRECISION = {"cpu": "fp32", "cuda": "bf16", "mps": "fp32"}
"""Precision of `auto`: half precision on hardware made for it, else full precision."""


def resolve_devices(name: str = "auto") -> list[torch.device]:
    """Return the devices of a name; several of them work side by side, each in a process of its own.

    Args:
        name: `cuda`: every GPU; `cuda:1`: a GPU by its number; `mps`: Apple's; `cpu`; `auto`: the first of `cuda`,
            `mps` and `cpu` that this machine has. A list with commas names several of one kind: `cuda:0,cuda:2`, or
            `cpu,cpu`, which share the cores.

    Raises:
        ValueError: a name is unknown, this machine has no such device, or the devices are of several kinds.
    """
    if name in ("auto", "cuda") and torch.cuda.is_available() and torch.cuda.device_count() > 1:
        return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    devices = [_resolve_one(part) for part in name.split(",")]
    kinds = sorted({device.type for device in devices})
    if len(kinds) > 1:
        raise ValueError(f"the devices {name!r} are of several kinds ({', '.join(kinds)}): use one kind")
    return devices


def resolve_device(name: str = "auto") -> torch.device:
    """Return the first of the devices of a name, for work that uses one; see `resolve_devices`."""
    return resolve_devices(name)[0]


def _resolve_one(name: str) -> torch.device:
    kind, numbered, number = name.partition(":")
    if kind not in DEVICES or (numbered and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"unknown device {name!r}: use one of {', '.join(DEVICES)}")
    if numbered:
        if int(number) >= torch.cuda.device_count():
            raise ValueError(f"device {name!r} is not available; torch finds {torch.cuda.device_count()} GPUs here")
        return torch.device(name)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available[name]:
        found = ", ".join(device for device, there in available.items() if there)
        raise ValueError(f"device {name!r} is not available to torch {torch.__version__} here; found: {found}")
    return torch.device(name)


def resolve_precision(name: str, device: torch.device) -> str:
    """Return the precision of a name for a device: `fp32`, `bf16` or `fp16`; `auto` is bf16 on CUDA, else fp32.

    Raises:
        ValueError: the name is unknown.
    """
    if name == "auto":
        return _AUTOMATIC_PRECISION[device.type]
    if name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}: use auto, {', '.join(PRECISIONS)}")
    return name


def resolve_compile(name: str, device: torch.device) -> bool:
    """Whether forward passes are compiled on a device: `on`, `off`, or `auto`.

    `auto` compiles on CUDA if possible: torch's compiler needs Triton, and Triton a C compiler.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in ("auto", "on", "off"):
        raise ValueError(f"unknown value {name!r} of compile: use auto, on or off")
    if name != "auto":
        return name == "on"
    c_compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    has_c_compiler = any(shutil.which(compiler) for compiler in c_compilers if compiler)
    return device.type == "cuda" and find_spec("triton") is not None and has_c_compiler
