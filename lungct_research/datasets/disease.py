"""The disease that a chest shows, for labels, painted lesions and answers of the classifier alike."""

from __future__ import annotations

from lungct.records import Diagnosis as Disease

DISEASES = tuple(Disease)
"""All diseases, in the order of the classifier's outputs."""

INFECTIONS = (Disease.COVID19, Disease.OTHER_INFECTION)
"""Diseases with opacities, in the order in which random draws choose among them."""

__all__ = ["DISEASES", "INFECTIONS", "Disease"]
