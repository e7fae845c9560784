"""Policies by name: those that searches found, known methods, and what papers say in words.

    policy = ad.zoo.load("word-dropout")

Everything lies in the package as JSON: nothing is downloaded, nothing unpickled.
"""

from autodropout.zoo.card import Arm as Arm
from autodropout.zoo.card import Card as Card
from autodropout.zoo.card import Evidence as Evidence
from autodropout.zoo.card import Searched as Searched
from autodropout.zoo.entries import card as card
from autodropout.zoo.entries import load as load
from autodropout.zoo.entries import names as names

__all__ = ["Arm", "Card", "Evidence", "Searched", "card", "load", "names"]
