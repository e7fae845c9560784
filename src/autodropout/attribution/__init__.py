"""How much each unit of a network matters to its outputs.

``lrp``: layer-wise relevance propagation with the epsilon rule (Bach et al. 2015), in ``lrp.py``.
``gradient``: gradient times activation. In networks of ReLUs, maxima and linear layers they agree as
epsilon goes to 0 (Ancona et al. 2018, Proposition 1): what relevance adds is the damping by epsilon. Two
more compare with zeros, through captum: integrated gradients and DeepLIFT, in ``against_zero.py``.
"""

from autodropout.attribution.methods import METHODS as METHODS
from autodropout.attribution.methods import Method as Method
from autodropout.attribution.methods import attribute as attribute
from autodropout.attribution.methods import relevance as relevance
from autodropout.attribution.methods import unit_axis as unit_axis
