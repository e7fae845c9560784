"""The paper's ablation: the same patterns at other places (AutoDropout, "Qualitative analysis")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.errors import UsageError
from autodropout.layers import PatternDropout
from autodropout.matching import match
from autodropout.pattern import ConvPattern, Pattern
from autodropout.policy import Policy
from autodropout.tasks.images.networks import on_branches

Sizes = Mapping[str, tuple[int, int]]
"""Site to (height, width) of its map."""


def relocated(policy: Policy, model: nn.Module, sizes: Sizes) -> Mapping[str, Policy]:
    """Return a policy's patterns at other sites of the same model.

    - ``reversed``: the first site's pattern at the last site, and so on.
    - ``shifted``: each pattern at the next site, the last one's at the first.
    - ``everywhere``: the patterns in turn at every site.

    A pattern's sizes and strides change with the map, so that it drops about as much there. Patterns on the
    shortcuts themselves stay where they are. The paper says that other places cost ResNet-50 about 1% of
    accuracy and not which; these three are ours.

    Args:
        policy: Of ``ConvPattern``; its keys may be globs.
        model: What it was found on.
        sizes: Of all its sites, such as ``ConvSpace.sites``.

    Raises:
        SiteError: The policy does not fit the model.
        UsageError: It drops nothing.
    """
    found = {one.site.name: one for one in match(model, policy)}
    names = [name for name in on_branches(model) if name in sizes]
    here = {
        name: pattern
        for name in names
        if name in found and isinstance(pattern := found[name].pattern, ConvPattern) and not pattern.off
    }
    starts = list(here)
    if not starts:
        raise UsageError(
            "the policy drops nothing at any site beside the shortcuts; there is nothing to move elsewhere"
        )

    on_shortcuts = {name: one.pattern for name, one in found.items() if name not in names}

    def moved(targets: Sequence[str], origins: Sequence[str]) -> Policy:
        pairs = zip(targets, origins, strict=True)
        there = {to: _alone(here[at].scaled(min(sizes[to]) / min(sizes[at]))) for to, at in pairs}
        return Policy(on_shortcuts | there, policy.schedule)

    last = len(names) - 1
    return {
        "reversed": moved([names[last - names.index(name)] for name in starts], starts),
        "shifted": moved([names[(names.index(name) + 1) % len(names)] for name in starts], starts),
        "everywhere": moved(names, [starts[place % len(starts)] for place in range(len(names))]),
    }


@dataclass(frozen=True, slots=True)
class BehindConvolutions:
    """Puts a policy's patterns behind convolutions instead of norms: a ``Prepare``.

    The paper applies patterns to the outputs of norms because elsewhere training was often unstable; this is
    elsewhere. A site ``...bnK`` moves to ``...convK``, which Wide ResNets and ResNets have, the last norm of
    a Wide ResNet to the stem: there the next norm's statistics are those of what is left. ``residual`` stays
    behind: it belongs to the norm's place.

    Attributes:
        policy: Of patterns for sites named ``bn``, ``bn1``, ``bn2`` or ``bn3``.
    """

    policy: Policy

    def __call__(self, model: nn.Module) -> Applied[PatternDropout]:
        """Apply it.

        Raises:
            UsageError: A site has no convolution of that name.
        """
        moved = {}
        modules = dict(model.named_modules())
        for found in match(model, self.policy):
            head, _, last = found.site.name.rpartition(".")
            place = ".".join(filter(None, (head, last.replace("bn", "conv"))))
            if not isinstance(modules.get(place), nn.Conv2d):
                raise UsageError(f'site "{found.site.name}" has no convolution {place!r} beside it')
            moved[place] = _alone(found.pattern)
        return apply(model, Policy(moved, self.policy.schedule), layouts=dict.fromkeys(moved, "NCHW"))


def _alone(pattern: Pattern) -> Pattern:
    return replace(pattern, residual=False) if isinstance(pattern, ConvPattern) else pattern
