"""Find, apply and explain structured dropout in PyTorch models."""
