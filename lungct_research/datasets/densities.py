"""Densities of tissue, lesions and gas in Hounsfield units, with their sources."""

from __future__ import annotations

AIR_HU = -1000.0
FAT_HU = -100.0
MUSCLE_HU = 52.0
SOFT_HU = 42.0
LIVER_HU = 58.0
SPLEEN_HU = 48.0
WATER_HU = 12.0
CARTILAGE_HU = 110.0
MARROW_HU = 190.0
CORTEX_HU = 650.0
DISC_HU = 75.0
"""Tissues of the phantom without contrast medium; own decisions."""

AIRWAY_WALL_HU = -60.0
AIRWAY_LUMEN_HU = -985.0
"""Airways of the phantom: walls are thinner than voxels, which average them with air; own decisions."""

NORMAL_LUNG_HU = -850.0
"""Aerated lung, for a host that shows none and for turning grey values into HU; own decision."""

SOFT_TISSUE_HU = 40.0
"""Muscle and blood: no lesion makes lung denser, and grey values are turned into HU by it; own decision."""

HAZE_HU = (-750.0, -600.0, -250.0)
"""Lowest, commonest and highest density of ground-glass: lesions of COVID-19 peak between -700 and -500 HU
and average -462 +- 99 HU in the first days ("Lung involvement in patients with coronavirus disease-19: a
retrospective study based on quantitative CT findings", Chin. J. Acad. Radiol. 2020)."""

DENSE_HU = (-120.0, 60.0)
"""Consolidation: it hides the vessels, so it is nearly as dense as blood, with a little air left or none; the
bounds are an own decision."""

GROUND_GLASS_HU = (-690.0, -530.0)
CONSOLIDATION_HU = (-35.0, 42.0)
"""Ground-glass and consolidation of the phantom, within the ranges above; own decision."""

SEPTA_HU = (100.0, 250.0)
"""Density that the lines of crazy paving add to the haze; own decision."""

GAS_HU = (-990.0, -900.0)
"""Gas inside cavities; own decision."""

EFFUSION_HU = (-5.0, 30.0)
"""Pleural fluid; own decision."""

EMPHYSEMA_HU = (-985.0, -950.0)
"""Emphysema: of eight limits on thin slices, only -950 HU gave as much of it as the cut lung (Gevenois et al.
1995, AJRCCM 152: 653-657); the lower bound is an own decision."""

RETICULATION_HU = (150.0, 450.0)
"""Density that the lines of fibrosis add; own decision."""

SOLID_NODULE_HU = (0.0, 40.0)
"""Solid nodules that are no infection; own decision."""
