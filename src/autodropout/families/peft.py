"""Models wrapped by PEFT: the sites of the model inside, by the names that they have without the wrapper.

A policy for a model therefore serves the model with adapters, and the other way round.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from autodropout.families.base import Adapter, walk, within
from autodropout.site import Site


@dataclass(frozen=True, slots=True)
class Inside:
    """An adapter that looks through ``peft.PeftModel``.

    Attributes:
        adapters: Whom to ask about what is inside.
    """

    adapters: tuple[Adapter, ...]

    def __call__(self, module: nn.Module) -> Sequence[Site] | None:
        """Return the sites inside a wrapper."""
        peft = sys.modules.get("peft")  # a model of its cannot exist before the import
        if peft is None or not isinstance(module, peft.PeftModel):
            return None
        inner = module.get_base_model()
        prefix = next(name for name, child in module.named_modules() if child is inner)
        return [
            replace(within(prefix, site), name=site.name)
            for site in (replace(one, module=one.module_name) for one in walk(inner, self.adapters))
        ]
