"""Landscapes: released trials, a surrogate fitted to them, and searchers compared on it."""

from autodropout.benchmark.landscapes import Benchmark as Benchmark
from autodropout.benchmark.landscapes import load as load
from autodropout.benchmark.landscapes import names as names
from autodropout.benchmark.released import Released as Released
