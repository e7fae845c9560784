"""Tasks without training over the token space and over feature maps, and studies of them."""

import math
import random

from autodropout.conv_space import ConvSpace
from autodropout.engine.confirm import Confirmation
from autodropout.engine.run import search
from autodropout.policy import ROLES
from autodropout.result import Result
from autodropout.token_space import TokenSpace

SPACE = TokenSpace.wide(ROLES)
MAPS = ConvSpace(sites={"group1.0.bn2": (8, 8), "bn": (4, 4)}, residual=("group1.0.bn2",))
FLOOR = 0.08
NOISE = 0.005
PARTS = {"random": 40, "random-biased": 30, "evolution": 30}


def true_reward(policy):
    """Dropout on three roles helps, best at a drop rate of its own; on the residual it hurts."""
    best = {"role:ffn": 0.1, "role:output": 0.15, "role:query": 0.05}
    total = 1.0
    for site, pattern in policy.sites.items():
        rate = pattern.drop_rate()
        if site in best:
            total += 0.05 - 0.02 * abs(math.log(rate / best[site]))
        else:
            total -= 0.3 * rate * (2.0 if pattern.share_c else 1.0)
    return total


def evaluate(policy, seed):
    reward = true_reward(policy) + random.Random(seed).gauss(0, NOISE)
    if seed % 97 == 0:
        return Result(reward=math.nan, metrics={"train_loss": math.nan}, seconds=1.0)
    return Result(
        reward=reward,
        metrics={"val_perplexity": 80 / reward},
        test={"perplexity": 81 / reward},
        curve=(80 / reward,),
        seconds=2.0,
    )


def true_map_reward(policy):
    """Small tiles help, more so if each channel has its own; on the shortcut a pattern hurts."""
    total = 0.8
    for site, pattern in policy.sites.items():
        total += 0.05 - 0.3 * (pattern.drop_rate(*MAPS.sites[site]) - 0.1) ** 2
        total -= 0.02 * pattern.share_c + 0.04 * pattern.residual
    return total


def evaluate_maps(policy, seed):
    reward = true_map_reward(policy) + random.Random(seed).gauss(0, NOISE)
    own = random.Random(f"{policy.key} {seed}").gauss(0, NOISE)
    return Result(
        reward=reward + own, metrics={"val_loss": 1 - reward}, test={"accuracy": reward}, seconds=3.0
    )


def studied(out, searcher, trials, seed, *, task="toy", top=0, maps=False):
    return search(
        evaluate_maps if maps else evaluate,
        MAPS if maps else SPACE,
        trials=trials,
        searcher=searcher,
        executor="inline",
        out=out,
        seed=seed,
        floor=FLOOR,
        confirm=Confirmation(top=top, seeds=3),
        task=task,
    )
