"""Target networks, every site a named module."""
