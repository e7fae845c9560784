"""Layer-wise relevance propagation with the epsilon rule, as a backward pass of another kind.

    R_i = a_i sum_j w_ij R_j / (z_j + epsilon sign(z_j)),   z_j = sum_i a_i w_ij + b_j

(Bach et al. 2015, Eq. 58). While ``Propagation`` is active, every torch function that sees a hidden state
runs under one of the rules of ``rules.py``, so that ``torch.autograd.grad`` returns relevance in place of
gradients:

* layers, sums and products with a constant are linear in the hidden states: the epsilon rule shares R out by
  contribution, also between the branches of a residual sum. What a bias contributes is lost;
* *passing*: an activation acts on each unit by itself; R goes through;
* *routing*: units are moved, copied or picked (reshape, cat, maximum); autograd's gradient is the rule.

Batch normalisation is folded into the linear layer whose output it alone uses. A function without a rule,
such as the product of two hidden states or a softmax, is refused by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from autodropout.attribution.rules import is_in_place, name_of, rule_of
from autodropout.errors import UsageError

_REMEDY = 'use method="gradient"'


@dataclass(slots=True)
class _Layer:
    """A linear layer's output, and the batch normalisation that may be folded into the layer."""

    scale: Tensor | None = None
    normalised: Tensor | None = None
    uses: int = 0

    @property
    def folds(self) -> bool:
        """Whether batch normalisation and nothing else uses the output; settled after the forward pass."""
        return self.normalised is not None and self.uses == 1


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a torch function, its hidden states apart from the rest."""

    function: Callable[..., Any]
    leaves: list[Any]
    spec: Any
    places: list[int]

    def __call__(self, *hidden: Tensor) -> Any:
        """Run it on these hidden states."""
        args, named = self.arguments(*hidden)
        return self.function(*args, **named)

    def arguments(self, *hidden: Tensor) -> Any:
        """Return positional and named arguments with these hidden states in them."""
        filled = list(self.leaves)
        for place, tensor in zip(self.places, hidden, strict=True):
            filled[place] = tensor
        return pytree.tree_unflatten(filled, self.spec)


class Propagation(TorchFunctionMode):
    """Let autograd propagate relevance instead of gradients through what runs inside the ``with`` block.

    Args:
        epsilon: What keeps the denominators from 0, in units of the activations.
    """

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self._epsilon = epsilon
        self._carriers: dict[int, Tensor] = {}  # hidden states, kept so that no other tensor takes their id
        self._layers: dict[int, _Layer] = {}
        self._changed: dict[int, Tensor] = {}  # a state that was changed in place to what it is now

    def carry(self, tensor: Tensor) -> Tensor:
        """Return a tensor as an input of the network, from which hidden states are made."""
        leaf = tensor.detach().requires_grad_()
        self._carriers[id(leaf)] = leaf
        return leaf

    def carries(self, tensor: Tensor) -> bool:
        """Say whether a tensor is a hidden state, which relevance comes to."""
        return id(tensor) in self._carriers

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run a function under the rule that it has."""
        named = kwargs or {}
        leaves, spec = pytree.tree_flatten((args, named))
        places = [place for place, leaf in enumerate(leaves) if id(leaf) in self._carriers]
        if func in (F.embedding, F.embedding_bag):
            return self.carry(func(*args, **named))
        if not places and leaves and rule_of(func, [0]) in ("layer", "norm") and _is_data(leaves[0]):
            leaves[0], places = self.carry(leaves[0]), [0]  # made of what is no float, such as bytes
        if not places:
            return func(*args, **named)
        hidden = [self._now(leaves[place]) for place in places]
        out = self._ruled(_Call(func, leaves, spec, places), hidden)
        for tensor in _floats(out):
            self._carriers[id(tensor)] = tensor
        if is_in_place(func, named):
            self._change(func, hidden[0], out)
        return out

    def _ruled(self, call: _Call, hidden: list[Tensor]) -> Any:
        layers = [self._layers[id(h)] for h in hidden if id(h) in self._layers]
        match rule_of(call.function, call.places):
            case "routing":
                out = call(*hidden)
                if call.function in (torch.clone, Tensor.clone) and layers:
                    self._layers[id(out)] = layers[0]  # a copy of a layer's output is that output
                    return out
            case "passing":
                out = _Passed.apply(call, *hidden)
            case "layer":
                layer = _Layer()
                out = _Weighted.apply(call, self._epsilon, None, layer, *hidden)
                self._layers[id(out)] = layer
            case "norm":
                out = self._normalised(call, hidden, layers)
            case "sum" | "product" | "quotient":
                out = _Weighted.apply(call, self._epsilon, None, None, *hidden)
            case None:
                out = call(*hidden)
                if _floats(out):
                    count = f" of {len(hidden)} hidden states" if len(hidden) > 1 else ""
                    raise UsageError(
                        "there is no rule that propagates relevance through "
                        f"{name_of(call.function)}{count}; {_REMEDY}"
                    )
                return out  # a shape, a device: no use of what the layer computed
        for layer in layers:
            layer.uses += 1
        return out

    def _normalised(self, call: _Call, hidden: list[Tensor], layers: list[_Layer]) -> Tensor:
        args, named = call.arguments(*hidden)
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = dict(zip(names, args, strict=False)) | named
        if given.get("training"):
            raise UsageError(f"batch normalisation without running statistics has no such rule; {_REMEDY}")
        layer = layers[0] if layers else None
        out: Tensor = _Weighted.apply(call, self._epsilon, layer, None, *hidden)
        if layer is not None:
            scale = torch.rsqrt(given["running_var"] + given.get("eps", 1e-5))
            if given.get("weight") is not None:
                scale = scale * given["weight"]
            layer.scale = scale.detach().reshape(-1, *[1] * (out.ndim - 2))
            layer.normalised = out.detach()
        return out

    def _now(self, tensor: Tensor) -> Tensor:
        while id(tensor) in self._changed:
            tensor = self._changed[id(tensor)]
        return tensor

    def _change(self, function: Callable[..., Any], before: Tensor, after: Tensor) -> None:
        if before._is_view():
            raise UsageError(
                f"{name_of(function)} changes a view of a hidden state in place, where relevance would be "
                f"lost; {_REMEDY}"
            )
        self._changed[id(before)] = after


class _Weighted(torch.autograd.Function):
    """The epsilon rule for a function that is linear in its hidden states."""

    @staticmethod
    def forward(
        ctx: Any, call: _Call, epsilon: float, into: _Layer | None, own: _Layer | None, *hidden: Tensor
    ) -> Tensor:
        with torch.enable_grad():
            ctx.leaves = [h.detach().requires_grad_() for h in hidden]
            ctx.z = call(*[leaf.clone() for leaf in ctx.leaves])  # it may work in place
        ctx.epsilon, ctx.into, ctx.own = epsilon, into, own
        z: Tensor = ctx.z.detach().clone()
        return z

    @staticmethod
    def backward(ctx: Any, *relevances: Tensor) -> tuple[Any, ...]:
        (relevance,) = relevances
        if ctx.into is not None and ctx.into.folds:
            return None, None, None, None, relevance
        folded = ctx.own is not None and ctx.own.folds
        z = ctx.own.normalised if folded else ctx.z.detach()
        share = relevance / (z + ctx.epsilon * torch.where(z < 0, -1.0, 1.0).to(z.dtype))
        if folded:
            share = share * ctx.own.scale
        gradients = torch.autograd.grad(ctx.z, ctx.leaves, share)
        inputs = [leaf.detach() * gradient for leaf, gradient in zip(ctx.leaves, gradients, strict=True)]
        return None, None, None, None, *inputs


class _Passed(torch.autograd.Function):
    """An activation: each unit keeps its relevance."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *hidden: Tensor) -> Tensor:
        h: Tensor = call(*[h.detach().clone() for h in hidden])
        ctx.others = [None] * (len(hidden) - 1)
        return h

    @staticmethod
    def backward(ctx: Any, *relevances: Tensor) -> tuple[Any, ...]:
        return None, relevances[0], *ctx.others


def _is_data(leaf: object) -> bool:
    """Say whether it holds numbers that no parameter made."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and not leaf.requires_grad


def _floats(out: object) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
