from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def memory_path():
    """A directory in memory where there is such a thing: thousands of durable commits need no disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
