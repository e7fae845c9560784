"""Tables that are built once, shared by all that need them, and held under one cap on their bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

_CAP = 2**27
_LARGEST = 2**25
_PATIENCE = 10_000


class Tables:
    """Tensors by key, the least recently used given up first.

    A table in use is never given up for another one: where more are needed than fit, some are refused
    and their users do without, instead of all being built again in every step.

    Args:
        cap: Bytes of all tables together.
        largest: Bytes of the largest single table.
        patience: Look-ups of any tables after which one that none of them asked for counts as out of use.
    """

    def __init__(self, cap: int = _CAP, largest: int = _LARGEST, patience: int = _PATIENCE) -> None:
        self.cap, self.largest, self.patience = cap, largest, patience
        self.num_built = 0
        self._entries: OrderedDict[Hashable, tuple[Tensor, int]] = OrderedDict()  # with the last look-up
        self._num_bytes = 0
        self._look_ups = 0
        self._lock = threading.RLock()  # a table may be built from others

    @property
    def num_bytes(self) -> int:
        """Bytes that are held now."""
        return self._num_bytes

    def get(self, key: Hashable, num_bytes: int, build: Callable[[], Tensor]) -> Tensor | None:
        """Return the table of a key, building it if need be; None if there is no room for it.

        Args:
            key: Says all that the table depends on, its device and dtype too.
            num_bytes: What it will take up.
            build: Makes it. It must not change afterwards.
        """
        with self._lock:
            self._look_ups += 1
            if key in self._entries:
                table, _ = self._entries[key]
                self._entries[key] = table, self._look_ups
                self._entries.move_to_end(key)
                return table
            if not self._made_room(num_bytes):
                return None
            with torch.inference_mode(False), torch.no_grad():
                table = build()
            # What is built under a fake tensor mode is fake too, and must not stay behind.
            if type(table) is Tensor:
                self.num_built += 1
                self._entries[key] = table, self._look_ups
                self._num_bytes += table.nbytes
            return table

    def clear(self) -> None:
        """Give up all tables."""
        with self._lock:
            self._entries.clear()
            self._num_bytes = 0

    def _made_room(self, num_bytes: int) -> bool:
        if num_bytes > min(self.largest, self.cap):
            return False
        while self._num_bytes + num_bytes > self.cap:
            key, (table, last) = next(iter(self._entries.items()))
            if self._look_ups - last <= self.patience:
                return False
            del self._entries[key]
            self._num_bytes -= table.nbytes
        return True


SHARED = Tables()
"""The tables of this process."""
