"""Find, apply and explain structured dropout in PyTorch models.

Names that need torch are loaded at their first use, so that the command line's help and the workers of
a search start without it.
"""

from autodropout.conv_space import ConvSpace as ConvSpace
from autodropout.errors import AutoDropoutError as AutoDropoutError
from autodropout.pattern import ConvPattern as ConvPattern
from autodropout.pattern import TokenPattern as TokenPattern
from autodropout.policy import Policy as Policy
from autodropout.result import Result as Result
from autodropout.result import Trial as Trial
from autodropout.token_space import TokenSpace as TokenSpace

__version__ = "0.1.0"
