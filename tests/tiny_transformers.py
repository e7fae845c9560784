"""The tiny models of Hugging Face's that the benchmark over many networks has, for tests that need them."""

import sys
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers", reason="the models are those of transformers")
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from transformer_zoo import TINY as TINY  # noqa: E402
from transformer_zoo import stream as stream  # noqa: E402
from transformer_zoo import text as text  # noqa: E402
from transformer_zoo import without_dropout as without_dropout  # noqa: E402
