import subprocess
import sys

import torch

from autodropout.tracing import at_trace_time, forget_compiled


def test_it_marks_a_function_exactly_as_torch_does():
    def one() -> int:
        return 1

    def other() -> int:
        return 1

    marked = at_trace_time(one)
    assert marked is one
    assert vars(marked) == vars(torch.compiler.assume_constant_result(other))


def test_a_compiled_graph_holds_what_it_returned_when_it_was_traced():
    calls = []

    @at_trace_time
    def scale(factor: float) -> float:
        calls.append(factor)
        return 2.0 * factor

    compiled = torch.compile(lambda x: x * scale(3.0), fullgraph=True, backend="eager")
    for _ in range(3):
        assert compiled(torch.ones(2)).tolist() == [6.0, 6.0]
    assert calls == [3.0]


def test_it_forgets_what_was_compiled():
    backend = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(torch.neg, backend=backend)
    for count in (1, 1):
        compiled(torch.ones(2))
        assert backend.frame_count == count
    forget_compiled()
    compiled(torch.ones(2))
    assert backend.frame_count == 2


def test_it_does_not_import_the_compiler_and_resets_nothing_where_nothing_was_compiled():
    script = (
        "import sys, torch\n"
        "from autodropout.tracing import forget_compiled\n"
        "forget_compiled()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "import torch._dynamo\n"
        "torch.compiler.reset = None\n"
        "forget_compiled()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
