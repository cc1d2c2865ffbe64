"""How this machine computes: what `auto` resolves to, for the provenance of everything that a model makes.

What belongs here: the way from a setting to its meaning on this machine. These functions import torch, so they are
called late, but before any work; a value that this machine does not support is refused with its variable.
"""

from typing import TYPE_CHECKING, Any

from plantclef_assets.settings import Settings
from plantclef_assets.settings.errors import SettingsError

if TYPE_CHECKING:
    import torch


def computation(settings: Settings) -> dict[str, Any]:
    """Return what affects the rounding of features: `precision`, and whether forward passes are `compiled`.

    Raises:
        SettingsError: there is no such device here, or it has no such precision.
    """
    from plantclef_assets.models.devices import resolve_compile

    return {"precision": precision(settings), "compiled": resolve_compile(settings.compile, device_of(settings))}


def precision(settings: Settings) -> str:
    """Return `fp32`, `bf16` or `fp16`.

    Raises:
        SettingsError: there is no such device here, or it has no such precision.
    """
    from plantclef_assets.models.devices import resolve_precision

    device = device_of(settings)
    try:
        return resolve_precision(settings.precision, device)
    except ValueError as error:
        raise SettingsError(f"PLANTCLEF_PRECISION: {error}.") from error


def device_of(settings: Settings) -> "torch.device":
    """Return the device that models run on, the first of several.

    Raises:
        SettingsError: there is no such device here.
    """
    return devices_of(settings)[0]


def devices_of(settings: Settings) -> "list[torch.device]":
    """Return the devices that models run on.

    Raises:
        SettingsError: there is no such device here.
    """
    from plantclef_assets.models.devices import resolve_devices

    if settings.engine == "spark" and settings.device != "auto":
        import torch

        return [torch.device(settings.device)]  # Spark's workers have the device; this machine may not
    try:
        return resolve_devices(settings.device)
    except ValueError as error:
        raise SettingsError(f"PLANTCLEF_DEVICE: {error}.") from error
