"""Chests to paint infections into: real ones without infection, synthetic ones around expert lobes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lungct_research.datasets.volumes import read_anatomy, read_real_chest, resample_hu, threshold_lungs
from lungct_research.synthesis.chest import EFFUSION_SHARE, make_chest
from lungct_research.synthesis.confounders import CONFOUNDERS, SHARES
from lungct_research.synthesis.fields import Spacing
from lungct_research.synthesis.lesions import Host
from lungct_research.synthesis.scanner import ANY_PROTOCOL, Protocol

PHANTOM_PATTERNS = (None, "covid", "pneumonia")


def real_host(data_dir: Path, name: str, spacing_mm: Spacing) -> Host:
    """A real chest without infection on about the wanted grid; its lungs carry label 1."""
    volume_hu, spacing_mm = resample_hu(*read_real_chest(data_dir, name), spacing_mm)
    lungs, near_airways = threshold_lungs(volume_hu, spacing_mm)
    return Host(volume_hu, lungs.astype(np.uint8), near_airways, spacing_mm)


def synthetic_host(
    data_dir: Path,
    anatomy: str,
    rng: np.random.Generator,
    spacing_mm: Spacing,
    protocol: Protocol = ANY_PROTOCOL,
    effusion_share: float = EFFUSION_SHARE,
) -> Host:
    """A synthetic chest around an expert anatomy, its lobes labelled."""
    chest = make_chest(read_anatomy(data_dir, anatomy), rng, spacing_mm, protocol, effusion_share)
    return Host(chest.volume_hu, chest.lobes, chest.airways, chest.spacing_mm)


def with_confounder(host: Host, rng: np.random.Generator) -> Host:
    """The host, now and then with something that is no infection; lungs and airways stay as they are."""
    for name, add in CONFOUNDERS.items():
        if rng.random() < SHARES[name]:
            host = Host(add(host, rng), host.lungs, host.lumen, host.spacing_mm)
    return host
