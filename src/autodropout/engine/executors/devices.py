"""Which CUDA devices a slot may see."""

import os
from collections.abc import Sequence

from autodropout.errors import UsageError


def visible_devices(devices: Sequence[int | str] | None) -> list[str | None]:
    """Return the values of CUDA_VISIBLE_DEVICES to deal out to the slots in turn.

    Args:
        devices: Indices among the devices that this process may see (as in ``torch.device("cuda", 1)``),
            or values to use as they are, such as a UUID or ``"0,1"``. None: no choice.

    Raises:
        UsageError: ``devices`` is empty or no sequence, or has something else in it.
    """
    if devices is None:
        return [None]
    if isinstance(devices, str) or not isinstance(devices, Sequence) or not devices:
        raise UsageError(f"devices is {devices!r}; expected at least one, such as (0, 1), or None")
    return [_visible_device(device) for device in devices]


def _visible_device(device: int | str) -> str:
    if isinstance(device, str) and device:
        return device
    if not isinstance(device, int) or isinstance(device, bool) or device < 0:
        raise UsageError(f"device is {device!r}; expected an index from 0 or a non-empty string")
    inherited = os.environ.get("CUDA_VISIBLE_DEVICES")
    if inherited is None:
        return str(device)
    visible = [name for name in inherited.split(",") if name]
    if device >= len(visible):
        raise UsageError(f"device is {device}, but CUDA_VISIBLE_DEVICES={inherited} shows {len(visible)}")
    return visible[device]
