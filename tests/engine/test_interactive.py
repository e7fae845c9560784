import subprocess
import sys

TYPED = """
from autodropout import TokenSpace, search
from autodropout.engine.confirm import Confirmation
offset = 3
def evaluate(policy, seed):
    return offset - len(policy.sites)

study = search(evaluate, TokenSpace(sites=("ffn",)), trials=4, searcher="random", out="run",
               confirm=Confirmation(top=1, seeds=1))

print(sorted({trial.reward for trial in study.trials} - {2.0, 3.0}), len(study.trials), study.finished)
"""


def test_evaluate_may_be_typed_at_a_prompt(tmp_path):
    """As in a notebook: the main module has no file that a worker could import."""
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=TYPED,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == "[] 5 True", done.stderr
