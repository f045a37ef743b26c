"""Thin adapters between the graph's ports and the functions of ``lungct``."""
