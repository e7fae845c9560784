"""Known methods as policies, and what papers say in words of theirs: what zoo.py adds to what was found."""

from dataclasses import replace

from autodropout.baselines import paper_transformer_finding, points
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy
from autodropout.zoo import Card

TRANSFORMERS = "Transformers whose sites have roles: timm, Hugging Face, torch.nn, ours"
Entry = tuple[Card, Policy]
_BLOCKS = (3, 4, 6, 3)  # of ResNet-50


def methods() -> list[Entry]:
    """Return known methods as policies, at usual strengths."""
    return [*_for_transformers(), *_for_resnet50()]


def words() -> list[Entry]:
    """Return policies after what papers say in words of some that they do not publish."""
    turned = ConvPattern(height=7, width=7, stride=7, repeat=2, rotate=30.0)
    upright = ConvPattern(height=2, width=2, stride=1)
    resnet = Card(
        name="resnet50-first-and-last",
        kind="words",
        summary="Different patterns in the first and the last bottleneck only, turned in the first.",
        fits="torchvision's and timm's resnet50",
        source="AutoDropout (Pham and Le 2021), Qualitative analysis; sizes and angle are ours, unmeasured",
    )
    transformer = Card(
        name="transformer-variational-and-words",
        kind="words",
        summary="Variational dropout in the attention, word dropout behind the feed-forward, .1.",
        fits=TRANSFORMERS,
        source="AutoDropout (Pham and Le 2021), Qualitative analysis; the rate is ours, unmeasured",
    )
    return [
        (resnet, Policy({"layer1.0.bn3": turned, "layer4.2.bn3": upright})),
        (transformer, paper_transformer_finding(0.1, 0.1)),
    ]


def _for_transformers() -> list[Entry]:
    branches = ("role:output", "role:ffn")
    return [
        _method(
            "dropout",
            "Dropout of single units at the ends of both branches, .1.",
            TRANSFORMERS,
            "Vaswani et al. 2017, section 5.4",
            Policy(dict.fromkeys(branches, points.dropout(0.1))),
        ),
        _method(
            "word-dropout",
            "Whole tokens dropped at the ends of both branches, .1.",
            TRANSFORMERS,
            "Dai and Le 2015, for embeddings; here where Vaswani et al. 2017 have Dropout",
            Policy(dict.fromkeys(branches, points.word_dropout(0.1))),
        ),
        _method(
            "variational-dropout",
            "One mask for all tokens of a sequence at the ends of both branches, .1.",
            TRANSFORMERS,
            "Gal and Ghahramani 2016, for recurrent networks; here where Vaswani et al. 2017 have Dropout",
            Policy(dict.fromkeys(branches, points.variational_dropout(0.1))),
        ),
        _method(
            "drop-attention",
            "Keys dropped for all queries of a head, at the attention weights, .1.",
            TRANSFORMERS,
            "Zehui et al. 2019, columns; rescaled over the batch (Eq. 1), where theirs is row by row",
            Policy({"role:softmax": points.variational_dropout(0.1)}),
        ),
    ]


def _for_resnet50() -> list[Entry]:
    return [
        _method(
            "dropblock-resnet50",
            "One block of 7x7 for each sample and channel in the last two stages, a tenth of a map.",
            "torchvision's and timm's resnet50",
            "Ghiasi et al. 2018, block size 7 and keep probability .9; theirs has any number of blocks, also "
            "behind the other convolutions and on the shortcuts",
            Policy({f"layer{stage}.*.bn3": _one_block(7, side, 0.1) for stage, side in ((3, 14), (4, 7))}),
        ),
        _method(
            "stochastic-depth-resnet50",
            "Residual branches dropped whole, rising linearly to .5 at the last block.",
            "torchvision's and timm's resnet50",
            "Huang et al. 2016, linear decay to a survival probability of .5",
            _stochastic_depth(0.5),
        ),
        _method(
            "spatial-dropout-resnet50",
            "Whole channels dropped in the last stage, .1.",
            "torchvision's and timm's resnet50",
            "Tompson et al. 2015; the place and the strength are ours",
            Policy({"layer4.*.bn3": points.spatial_dropout(0.1)}),
        ),
    ]


def _method(name: str, summary: str, fits: str, source: str, policy: Policy) -> Entry:
    return Card(name=name, kind="method", summary=summary, fits=fits, source=source), policy


def _one_block(block: int, side: int, drop_rate: float) -> ConvPattern:
    """Return one block per channel, so often that this share of a map of ``side`` x ``side`` is dropped."""
    always = ConvPattern(height=block, width=block, repeat=1, share_c=False)
    return replace(always, rate=drop_rate / always.drop_rate(side, side))


def _stochastic_depth(last: float) -> Policy:
    """Return rate = last * block / blocks for the blocks of a ResNet-50, counted from 1."""
    names = [f"layer{stage}.{block}.bn3" for stage, n in enumerate(_BLOCKS, 1) for block in range(n)]
    patterns: dict[str, ConvPattern] = {
        name: points.stochastic_depth(last * place / len(names)) for place, name in enumerate(names, 1)
    }
    return Policy(patterns)
