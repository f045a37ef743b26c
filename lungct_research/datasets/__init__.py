"""Chest CTs with labels: files, cases, splits and manifests."""
