"""A policy that was found on one network, on another: wider, deeper, or for larger images."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import nn

from autodropout.errors import UsageError
from autodropout.families import find_sites
from autodropout.matching import match
from autodropout.pattern import ConvPattern, Pattern
from autodropout.policy import Policy
from autodropout.tasks.images.task import ImageTask

# Stage, block in it, place in the block: of WRN and ResNets, torchvision's and timm's EfficientNets.
_IN_BLOCK = re.compile(r"(group\d+|layer\d+|features\.\d+|blocks\.\d+)\.(\d+)\.(.+)")


def transferred(policy: Policy, source: nn.Module, target: nn.Module, factor: float = 1.0) -> Policy:
    """Return a policy for another network of the same family.

    Sites of equal name keep their pattern. Where a stage has another number of blocks, block i of n takes
    that of block round(i (m - 1) / (n - 1)) of m: the first of the first, the last of the last, the others in
    proportion. Sizes and strides are multiplied by ``factor``; the paper scales them with the images that
    large EfficientNets see. ``residual`` is dropped where the target's block has no shortcut.

    Args:
        policy: Found on the source; its keys may be globs.
        source: The network it was found on. Neither network is changed, and both may be on the meta device.
        target: The network it is for.
        factor: Side of the target's images over that of the source's.

    Returns:
        The policy itself where both have the same sites and the factor is 1; otherwise one with exact keys.

    Raises:
        SiteError: The policy does not fit the source.
        UsageError: No site of the target has a counterpart in the policy, or the factor is not above 0.

    Example:
        >>> from autodropout.models.wide_resnet import WideResNet
        >>> policy = Policy({"group3.0.bn2": ConvPattern(height=2, width=2, stride=2)})
        >>> shallow, deep = WideResNet(depth=10, width=1), WideResNet(depth=16, width=1)
        >>> sorted(transferred(policy, shallow, deep, 2.0).sites)
        ['group3.0.bn2', 'group3.1.bn2']
    """
    patterns = {found.site.name: found.pattern for found in match(source, policy)}
    ours, theirs = find_sites(source), find_sites(target)
    if [site.name for site in ours] == [site.name for site in theirs] and factor == 1.0:
        return policy
    counts = _block_counts(site.name for site in ours), _block_counts(site.name for site in theirs)
    moved = {}
    for site in theirs:
        pattern = patterns.get(_counterpart(site.name, *counts))
        if pattern is not None:
            moved[site.name] = _fitting(pattern.scaled(factor), site.shortcut is not None)
    if patterns and not moved:
        raise UsageError(
            f"no site of the {type(target).__name__} has a counterpart among {', '.join(sorted(patterns))}; "
            "expected two networks of one family, such as WRN-28-2 and WRN-28-10"
        )
    return Policy(moved, policy.schedule)


def transferred_to(policy: Policy, source: ImageTask, target: ImageTask) -> Policy:
    """Return a policy that was found on one task for another: ``transferred`` with their networks and images.

    Args:
        policy: Found on the source.
        source: The task it was found on.
        target: The task it is for.

    Raises:
        SiteError: The policy does not fit the source.
        UsageError: The two networks have no site in common.
    """
    with torch.device("meta"):
        networks = source.model(), target.model()
    return transferred(policy, *networks, factor=target.source.side / source.source.side)


def _fitting(pattern: Pattern, has_shortcut: bool) -> Pattern:
    if isinstance(pattern, ConvPattern) and pattern.residual and not has_shortcut:
        return replace(pattern, residual=False)
    return pattern


def _counterpart(name: str, source: Mapping[str, int], target: Mapping[str, int]) -> str:
    """Return the name of the source's site that stands where the target's does."""
    found = _IN_BLOCK.fullmatch(name)
    if found is None or found[1] not in source:
        return name
    number, blocks = int(found[2]), target[found[1]]
    mapped = round(number * (source[found[1]] - 1) / (blocks - 1)) if blocks > 1 else 0
    return f"{found[1]}.{mapped}.{found[3]}"


def _block_counts(names: Iterable[str]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        if found := _IN_BLOCK.fullmatch(name):
            counts[found[1]] = max(counts.get(found[1], 0), int(found[2]) + 1)
    return counts
