"""Two data-parallel processes on the CPU: each has masks of its own, and both go on as one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("two_processes.py")
COMMANDS = {
    "lightning": [sys.executable, str(SCRIPT)],
    "huggingface": [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--standalone", "--nproc-per-node", "2", str(SCRIPT)),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("library", COMMANDS)
def test_ranks_draw_apart_learn_alike_and_resume(library, tmp_path):
    pytest.importorskip({"lightning": "lightning", "huggingface": "transformers"}[library])
    command = [*COMMANDS[library], library, str(tmp_path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    for run, batches in (("whole", 8), ("resumed", 4)):
        mine, other = first[run]["masks"], second[run]["masks"]
        assert len(mine) == len(other) == batches
        assert len({*mine, *other}) == 2 * batches
        assert first[run]["weights"] == second[run]["weights"]
    assert first["resumed"]["weights"] == first["whole"]["weights"]
    for seen in (first, second):
        assert seen["resumed"]["masks"] == seen["whole"]["masks"][4:]
