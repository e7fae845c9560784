"""With what and where a study was made: versions, machine, command."""

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("autodropout", "torch", "numpy")


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
    """Return operating system, architecture and the number of logical processors."""
    return {"system": platform.platform(), "architecture": platform.machine(), "processors": os.cpu_count()}


def command() -> str:
    """Return the command line of this process, quoted for a shell."""
    return shlex.join(sys.argv)
