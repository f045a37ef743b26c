"""Synthetic chests and painted lesions with exact masks."""
