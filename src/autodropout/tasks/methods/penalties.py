"""L1 and L2 penalties on weights, by their gradients."""

from collections.abc import Callable

from torch import Tensor, nn

from autodropout.errors import UsageError


def penalise(model: nn.Module, *, l1: float = 0.0, l2: float = 0.0) -> None:
    """Add penalties on a model's weights to the gradients of every backward pass from now on.

    loss' = loss + l1 * sum |w| + l2 / 2 * sum w^2, and so dloss'/dw = dloss/dw + l1 * sign(w) + l2 * w

    Matrices and kernels are penalised; biases and norms, which have one axis, are not. The reported loss is
    the one without penalties. With SGD, ``l2`` does what its ``weight_decay`` does, for weights alone.

    Args:
        model: Its parameters receive hooks. state_dict stays as it is; a copy of the model has none.
        l1: Factor of the sum of magnitudes, at least 0.
        l2: Twice the factor of the sum of squares, at least 0.

    Raises:
        UsageError: A factor is negative.
    """
    for name, factor in (("l1", l1), ("l2", l2)):
        if not factor >= 0.0:
            raise UsageError(f"{name} is {factor!r}; expected a factor of at least 0")
    for parameter in model.parameters():
        if parameter.ndim > 1 and parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(_added(l1, l2))  # type: ignore[no-untyped-call]


def _added(l1: float, l2: float) -> Callable[[Tensor], None]:
    def add(weight: Tensor) -> None:
        gradient = weight.grad
        assert gradient is not None  # torch calls this right after it was written
        if l1:
            gradient.add_(weight.detach().sign(), alpha=l1)
        if l2:
            gradient.add_(weight.detach(), alpha=l2)

    return add
