import os
import pickle
import struct
from multiprocessing import Pipe

import pytest

from autodropout.engine.executors.slot import Slot
from autodropout.engine.executors.worker import Ready, Setup


def connected():
    ours, theirs = Pipe()
    return Slot(setup=Setup(evaluate=b"", log_dir=None, device=None), connection=ours), theirs


def test_what_was_said_before_hanging_up_is_heard():
    slot, theirs = connected()
    theirs.send(Ready())
    theirs.close()
    messages = slot.messages()
    assert next(messages) == Ready()
    with pytest.raises(EOFError):
        next(messages)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_half_a_message_is_a_hang_up(share):
    slot, theirs = connected()
    data = pickle.dumps(Ready())
    os.write(theirs.fileno(), struct.pack("!i", len(data)) + data[: int(share * len(data))])
    theirs.close()
    with pytest.raises(EOFError):
        list(slot.messages())
