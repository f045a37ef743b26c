"""The synthetic cohort of the classifier: patients of institutions that differ in scanner and prevalence.

A patient is a chest (synthetic around an expert anatomy, real without infection, or a phantom), now and then
with something that looks like an infection, and the disease of its class. Chests and confounders are drawn
without regard to the class, so that nothing but the painted disease tells the classes apart. Institutions and
anatomies of one part of the split are in no other part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from lungct.networks.classifier3d import CLASSES
from lungct.networks.inputs import classifier_input
from lungct_research.datasets.arrays import BoolArray, FloatArray
from lungct_research.datasets.disease import DISEASES, INFECTIONS, Disease
from lungct_research.datasets.examples import Example, build_examples
from lungct_research.datasets.manifest import ManifestRow, Part
from lungct_research.datasets.site_examples import CachedCase
from lungct_research.datasets.volumes import read_split
from lungct_research.synthesis.hosts import real_host, synthetic_host, with_confounder
from lungct_research.synthesis.lesions import Host, add_infection, with_cavity
from lungct_research.synthesis.phantom.thorax import make_thorax
from lungct_research.synthesis.scanner import Protocol, scan
from lungct_research.training.common import Options

HOST_SPACING_MM = (4.0, 1.7, 1.7)

INSTITUTIONS: Mapping[Part, range] = {"train": range(11), "validation": range(11, 14), "test": range(14, 20)}
"""Institutions by part, 11, 3 and 6 as in the paper (Topff et al. 2023, PLoS ONE 18(5): e0285121)."""

PATIENTS: Mapping[Part, int] = {"train": 660, "validation": 150, "test": 300}

THICKNESS_MM, KERNEL_MM, NOISE_HU = (0.63, 3.0), (0.4, 1.0), (8.0, 35.0)
"""Ranges of the institutions' means. Slice thickness is that of the paper's; the others are own decisions."""

SPREAD = 1.3
"""Factor around its mean within which an institution varies; own decision."""

PREVALENCE_CONCENTRATION = 6.0
"""Concentration of the Dirichlet distribution of classes in an institution, by which the rarest has about a
sixth of the cases. Own decision."""

SEVERE_SHARE = (0.05, 0.4)
"""Range of the share of infected patients with a second round of lesions; own decision."""

PHANTOM_SHARE, REAL_SHARE = 0.1, 0.15
"""Shares of the chests; the others are synthetic. Own decision."""

EFFUSION_SHARE = {Disease.COVID19: 0.08, Disease.OTHER_INFECTION: 0.3, Disease.NO_INFECTION: 0.05}
"""Share of chests with fluid beside a lung. Own decision: 5 to 10 % of CTs of COVID-19, more often in
bacterial pneumonia; without infection it stands for heart failure."""

CAVITY_SHARE = 0.1
"""Share of other infections with a cavity, if a consolidation is deep enough; own decision."""

FIRST_PHANTOM = {"train": 30_000, "validation": 920_000, "test": 930_000}


@dataclass(frozen=True)
class Institution:
    """Where patients are scanned.

    Attributes:
        prevalence: shares of the classes, in the order of ``DISEASES``.
        severe_share: share of the infected patients who have more lesions.
    """

    name: str
    protocol: Protocol
    prevalence: tuple[float, ...]
    severe_share: float


def make_institution(number: int) -> Institution:
    """Draw an institution, the same for the same number."""
    rng = np.random.default_rng([2020, number])

    def around(low: float, high: float) -> tuple[float, float]:
        mean = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return mean / SPREAD, mean * SPREAD

    protocol = Protocol(
        around(*THICKNESS_MM), around(*KERNEL_MM), float(rng.uniform(0, 1)), around(*NOISE_HU)
    )
    prevalence = rng.dirichlet([PREVALENCE_CONCENTRATION] * len(DISEASES))
    severe_share = float(rng.uniform(*SEVERE_SHARE))
    return Institution(f"institution-{number:02d}", protocol, tuple(prevalence.tolist()), severe_share)


def patient_example(data_dir: Path, part: Part, number: int, seed: int) -> Example:
    """Make one patient as the classifier sees it.

    Returns:
        ``volume`` uint8 of 255 ``[1, *CLASSIFIER_SHAPE]``, ``label`` ``[1]`` and ``institution`` ``[1]``.
    """
    rng = np.random.default_rng([seed, INSTITUTIONS[part].start, number])
    place = make_institution(INSTITUTIONS[part][number % len(INSTITUTIONS[part])])
    label = int(rng.choice(len(DISEASES), p=place.prevalence))
    if rng.random() < PHANTOM_SHARE:
        phantom = make_thorax(
            FIRST_PHANTOM[part] + number, spacing_mm=HOST_SPACING_MM, disease=DISEASES[label]
        )
        volume_hu, lungs = phantom.volume_hu.astype(np.float32), phantom.lobes > 0
        volume_hu = scan(volume_hu, rng, HOST_SPACING_MM, place.protocol)
    else:
        host = with_confounder(_chest(data_dir, part, DISEASES[label], place, rng), rng)
        volume_hu, lungs = _diseased(host, DISEASES[label], place, rng), host.lungs > 0
    return {
        "volume": _seen(volume_hu, lungs, rng)[None],
        "label": np.array([label]),
        "institution": np.array([place.name]),
    }


def _chest(
    data_dir: Path, part: Part, disease: Disease, place: Institution, rng: np.random.Generator
) -> Host:
    real, anatomies = read_split("real_chests")[part], read_split("anatomies")[part]
    if real and rng.random() < REAL_SHARE:
        host = real_host(data_dir, str(rng.choice(real)), HOST_SPACING_MM)
        volume_hu = scan(host.volume_hu, rng, host.spacing_mm, place.protocol)
        return Host(volume_hu, host.lungs, host.lumen, host.spacing_mm)
    anatomy = str(rng.choice(anatomies))
    return synthetic_host(data_dir, anatomy, rng, HOST_SPACING_MM, place.protocol, EFFUSION_SHARE[disease])


def _diseased(host: Host, disease: Disease, place: Institution, rng: np.random.Generator) -> FloatArray:
    """Return the host's volume with the lesions of a disease, or as it is."""
    if disease not in INFECTIONS:
        return host.volume_hu
    volume_hu, _, kinds = add_infection(host, rng, disease)
    if rng.random() < place.severe_share:
        worse = Host(volume_hu, host.lungs, host.lumen, host.spacing_mm)
        volume_hu, _, more = add_infection(worse, rng, disease)
        kinds = np.maximum(kinds, more)
    if disease is Disease.OTHER_INFECTION and rng.random() < CAVITY_SHARE:
        volume_hu = with_cavity(host, volume_hu, kinds, rng)
    return volume_hu


def _seen(volume_hu: FloatArray, lungs: BoolArray, rng: np.random.Generator) -> np.ndarray:
    """Return the classifier's input as uint8 of 255, the lung mask a voxel wider or narrower at random."""
    change = rng.integers(-1, 2)
    if change:
        lungs = (ndimage.binary_dilation if change > 0 else ndimage.binary_erosion)(lungs)
    seen = classifier_input(torch.from_numpy(volume_hu), torch.from_numpy(lungs))
    return np.round(255 * seen[0, 0].numpy()).astype(np.uint8)


def make_patients(options: Options, part: Part) -> list[CachedCase]:
    """Make the patients of one part that are not in the cache yet; return all of the part."""
    jobs = {f"{n:04d}": (options.data, part, n, options.seed) for n in range(PATIENTS[part])}
    files = build_examples(options.run_dir / f"seed{options.seed}" / part, jobs, patient_example)
    cases = []
    for number, file in enumerate(files):
        with np.load(file) as arrays:
            label, place = CLASSES[int(arrays["label"][0])], str(arrays["institution"][0])
        cases.append(
            CachedCase(ManifestRow(number, file, f"{part}-{number}", place, label, split=part), file)
        )
    return cases
