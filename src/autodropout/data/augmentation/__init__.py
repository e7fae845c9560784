"""Changes to whole batches of images, every draw taken from one generator.

Each is a callable (images, labels, generator) -> (images, labels), or (images, soft targets) where examples
are mixed: a ``Change``. They are frozen dataclasses, so that recipes which hold them compare by value and
travel to other processes; ``Chained`` makes one of several. Equal generators make equal batches, and torch's
own generators are left as they were.

===================== ================================ ===============================================
change                function                         source
===================== ================================ ===============================================
``Flips``             ``flipped``                      usual
``Crops``             ``cropped``                      He et al. (2016), Section 4.2
``RandAugment``       ``rand_augment``                 Cubuk et al. (2019), operations of torchvision
``Mixup``             torchvision's ``v2.MixUp``       Zhang et al. (2018)
``CutMix``            torchvision's ``v2.CutMix``      Yun et al. (2019)
``LabelSmoothing``    ``smoothed``                     Szegedy et al. (2016), Section 7
===================== ================================ ===============================================

``RandAugment`` sees images as they are stored, before their channels are scaled. Mixtures come last.
"""

from autodropout.data.augmentation.chain import Chained as Chained
from autodropout.data.augmentation.chain import Change as Change
from autodropout.data.augmentation.crops import Crops as Crops
from autodropout.data.augmentation.crops import Flips as Flips
from autodropout.data.augmentation.crops import cropped as cropped
from autodropout.data.augmentation.crops import flipped as flipped
from autodropout.data.augmentation.labels import LabelSmoothing as LabelSmoothing
from autodropout.data.augmentation.labels import one_hot as one_hot
from autodropout.data.augmentation.labels import smoothed as smoothed
from autodropout.data.augmentation.mixing import CutMix as CutMix
from autodropout.data.augmentation.mixing import Mixup as Mixup
from autodropout.data.augmentation.rand_augment import RandAugment as RandAugment
from autodropout.data.augmentation.rand_augment import rand_augment as rand_augment
