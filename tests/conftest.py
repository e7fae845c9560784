import multiprocessing
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two threads on a busy core crawl

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests in the background has interrupts ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if sys.platform == "linux":
    # Python has one fork server for a whole process, which has loaded what was set before its first use. With
    # nothing loaded, each of the drivers that benchmarks/chaos.py starts would import torch for seconds.
    _LOADED = ["autodropout.engine.run", "autodropout.token_space", "torch._dynamo"]
    multiprocessing.get_context("forkserver").set_forkserver_preload(_LOADED)

settings.register_profile("green-is-green", derandomize=True, deadline=None)
settings.load_profile("green-is-green")


@pytest.fixture
def memory_path():
    """A directory in memory where there is such a thing: thousands of durable commits need no disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)
