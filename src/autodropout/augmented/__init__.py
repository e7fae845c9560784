"""Different noise for the two passes of a layer (Gao, Pei, Huang 2019, "Demystifying Dropout").

Masking the gradient of h alone would give a wrong weight gradient: Eq. 9 needs h * eps_b in it while the
output sees h * eps_f. So the noise acts inside the Linear or convolution that consumes h.
"""

from autodropout.augmented.consumer import Epsilon as Epsilon
from autodropout.augmented.consumer import consume as consume
from autodropout.augmented.consumer import is_consumer as is_consumer
from autodropout.augmented.layer import AugmentedDropout as AugmentedDropout
