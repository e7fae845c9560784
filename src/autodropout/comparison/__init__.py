"""Compare policies and other ways of training on the same seeds, and say what that shows."""

from autodropout.comparison.findings import Comparison as Comparison
from autodropout.comparison.row import Row as Row
from autodropout.comparison.running import compare as compare
from autodropout.comparison.running import read_comparison as read_comparison
