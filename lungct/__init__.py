"""Chest-CT analysis as plain functions on arrays and frozen records; knows nothing of MONAI Deploy."""

__version__ = "0.1.0"
