"""With what and where a study was made: versions, machine, command."""

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("autodropout", "torch", "numpy")
_CPUINFO = Path("/proc/cpuinfo")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that figures depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, object]:
    """Return operating system, architecture, and name and number of the logical processors."""
    return {
        "system": platform.platform(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count(),
    }


def command() -> str:
    """Return the command line of this process, quoted for a shell."""
    return shlex.join(sys.argv)


def _processor() -> str:
    """Return the processor's name as Linux has it, elsewhere as Python does."""
    try:
        lines = _CPUINFO.read_text(encoding="utf8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
