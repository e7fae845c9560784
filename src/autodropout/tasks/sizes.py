"""How large the network of each task is: building all of them takes seconds, which a list should not."""

from collections.abc import Mapping

PARAMETERS: Mapping[str, int] = {
    "digits": 24_442,
    "ptb-small": 163_104,
    "pydoc-lm": 163_104,
    "cifar10-small": 77_850,
    "cifar100-small": 83_700,
    "mnist-small": 77_562,
    "cifar10-wrn28-2": 1_467_610,
    "cifar10-wrn28-10": 36_479_194,
    "cifar10-small-uda": 77_850,
    "cifar10-4k-uda": 1_467_610,
    "imagenet10-uda": 25_557_032,
    "wikitext2-small": 163_104,
    "ptb-txl": 24_185_560,
    "ptb-txl-final": 24_185_560,
    "wikitext2-txl": 33_054_478,
    "iwslt14-de-en": 36_663_296,
    "wmt14-en-fr": 60_522_496,
    "multi30k-de-en": 283_008,
    "multi30k-en-fr": 283_008,
    "imagenet-resnet50-half": 6_917_640,
    "imagenet-efficientnet-b0-half": 1_712_522,
    "imagenet-resnet50": 25_557_032,
    "imagenet-efficientnet-b0": 5_288_548,
    "imagenet-efficientnet-b1": 7_794_184,
    "imagenet-efficientnet-b2": 9_109_994,
    "imagenet-efficientnet-b3": 12_233_232,
    "imagenet-efficientnet-b4": 19_341_616,
    "imagenet-efficientnet-b5": 30_389_784,
    "imagenet-efficientnet-b6": 43_040_704,
    "imagenet-efficientnet-b7": 66_347_960,
}
"""Name of a task to the number of its network's parameters; tests/tasks/test_sizes.py counts them."""
