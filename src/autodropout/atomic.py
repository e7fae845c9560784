"""Writing a file so that no reader ever sees half of it."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file as UTF-8 under another name, then give it its own; what was there stays until then.

    Args:
        path: The file; its directory exists.
        text: All of its content.

    Raises:
        OSError: It cannot be written; nothing is left behind.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
