"""Lobes and opacities on the grid of the canonical volume."""
