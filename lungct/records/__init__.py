"""Frozen records that travel between the stages of the analysis.

Arrays are ``[slices, rows, columns]``. ``affine_lps`` maps homogeneous array indices
``(slice, row, column, 1)`` to patient coordinates in millimetres (L, P, S; DICOM PS3.3 C.7.6.2.1.1).
"""

from lungct.records.findings import (
    LEFT_LOBES,
    RIGHT_LOBES,
    Analysis,
    Classification,
    Diagnosis,
    Extent,
    Findings,
    Involvement,
    Lobe,
    LungAnatomy,
    ModelInfo,
    Opacities,
    Probabilities,
    Quantification,
)
from lungct.records.images import (
    Chest,
    CtVolume,
    Float64Array,
    HuArray,
    MaskArray,
    PatientStudy,
    QualityFlag,
    Reason,
    Scan,
    Selection,
    Series,
    SeriesVerdict,
    SkippedFile,
    SliceHeader,
)

__all__ = [
    "LEFT_LOBES",
    "RIGHT_LOBES",
    "Analysis",
    "Chest",
    "Classification",
    "CtVolume",
    "Diagnosis",
    "Extent",
    "Findings",
    "Float64Array",
    "HuArray",
    "Involvement",
    "Lobe",
    "LungAnatomy",
    "MaskArray",
    "ModelInfo",
    "Opacities",
    "PatientStudy",
    "Probabilities",
    "QualityFlag",
    "Quantification",
    "Reason",
    "Scan",
    "Selection",
    "Series",
    "SeriesVerdict",
    "SkippedFile",
    "SliceHeader",
]
