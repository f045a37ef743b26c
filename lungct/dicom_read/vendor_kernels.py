"""Which Convolution Kernel (0018,1210) values mean a sharp reconstruction for lung parenchyma.

Vendors name kernels as they like and publish no table; these are the naming schemes met in practice, to be
extended where a site's lung kernel is missing:

- GE: the algorithm by name: Lung, Bone and BonePlus, and their high-definition forms (``HD LUNG``).
- Siemens: a letter for the region, a sharpness of 10 (smooth) to 80 (sharp) and, on older scanners, a speed:
  ``B70f``, iterative ``I50f``, ``Br64``, ``Bl57``. Bl is the family for lung; otherwise 50 and more is sharp.
- Philips: letters: L (lung) and YA to YD (sharp, the Y-Sharp family), or ``LUNG``.
- Toshiba and Canon: FC50 to FC59 (lung) and FC80 to FC89 (high-resolution lung); deep-learning
  reconstructions say ``LUNG``.
"""

from __future__ import annotations

import re

LUNG_KERNELS = {
    "GE": re.compile(r"(HD ?)?(LUNG|BONE|BONEPLUS)"),
    "SIEMENS": re.compile(r"BL\d\d.*|[A-Z]{1,2}[5-8]\d[A-Z]?"),
    "PHILIPS": re.compile(r"L|Y[A-D]|LUNG"),
    "TOSHIBA": re.compile(r"FC[58]\d.*|.*LUNG.*"),
    "CANON": re.compile(r"FC[58]\d.*|.*LUNG.*"),
}


def is_lung_kernel(manufacturer: str, kernel: str) -> bool:
    """Return whether the kernel is one that its vendor offers for lungs.

    Args:
        manufacturer: Manufacturer (0008,0070); its first known vendor name decides.
        kernel: Convolution Kernel (0018,1210); of several values the first, the others tell the strength
            of an iterative reconstruction.
    """
    name = kernel.partition("\\")[0].strip().upper()
    words = set(re.split(r"[\W_]+", manufacturer.upper()))
    return any(pattern.fullmatch(name) for vendor, pattern in LUNG_KERNELS.items() if vendor in words)
