"""Regularisers that act on batches, hidden states and weights: what a policy is compared with."""
