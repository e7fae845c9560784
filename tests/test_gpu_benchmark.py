"""benchmarks/gpu.py: its steps train on any device, and without a GPU it measures nothing and says so."""

import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import gpu


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_steps_run_and_are_put_over_the_one_without_a_policy():
    runs = {
        name: gpu.stepping(pattern, 2, "cpu", compiled=False)
        for name, pattern in {"no policy": None, **gpu.PATTERNS}.items()
    }

    def timed(run):
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    found = gpu.ratios(runs, 2, timed)
    assert list(found) == ["no policy", "shared", "per channel"]
    assert all(case["n"] == 2 for case in found.values())
    assert found["shared"]["target"] == gpu.TARGET
    assert 0.2 < found["shared"]["median"] < 20.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which would be measured")
def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    gpu.main()
    assert capsys.readouterr().out == "no GPU is visible: nothing was measured\n"
