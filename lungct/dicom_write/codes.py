"""Coded concepts of the results: standard codes where they exist, a private scheme where not (ADR 0018)."""

from __future__ import annotations

from typing import Final, NamedTuple

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from lungct.dicom_write.origin import APPLICATION
from lungct.records import Diagnosis, Involvement, Lobe

PRIVATE_SCHEME = "99LUNGCT"
"""Designator of our codes; one that begins with 99 is private (PS3.16 section 8.2)."""

PRIVATE_SCHEME_ITEM = CodingSchemeIdentificationItem(
    designator=PRIVATE_SCHEME,
    name="Concepts of the lungct chest CT analysis",
    version="1",
    responsible_organization=APPLICATION,
)


class Site(NamedTuple):
    """A part of the lungs: structure and side."""

    structure: Code
    laterality: Code | None


_UPPER, _LOWER = codes.SCT.UpperLobeOfLung, codes.SCT.LowerLobeOfLung
_LEFT, _RIGHT = codes.SCT.Left, codes.SCT.Right

LOBE_SITES: Final = {
    Lobe.LEFT_UPPER: Site(_UPPER, _LEFT),
    Lobe.LEFT_LOWER: Site(_LOWER, _LEFT),
    Lobe.RIGHT_UPPER: Site(_UPPER, _RIGHT),
    Lobe.RIGHT_MIDDLE: Site(codes.SCT.MiddleLobeOfRightLung, None),
    Lobe.RIGHT_LOWER: Site(_LOWER, _RIGHT),
}
LEFT_LUNG: Final = Site(codes.SCT.Lung, _LEFT)
RIGHT_LUNG: Final = Site(codes.SCT.Lung, _RIGHT)
BOTH_LUNGS: Final = Site(codes.SCT.Lung, codes.SCT.Bilateral)

AIRWAYS: Final = Site(codes.SCT.AirwayStructure, None)

ANATOMICAL_STRUCTURE: Final = Code("123037004", "SCT", "Anatomical Structure")
"""CID 7150; pydicom has the code under the older meaning "Body structure"."""

ABNORMAL_STRUCTURE: Final = codes.SCT.MorphologicallyAbnormalStructure
OPACITY: Final = codes.DCM.Opacity
BLOOD_VESSEL: Final = codes.SCT.BloodVessel
PDF_TITLE: Final = codes.LN.CTChestReport
PROCEDURE: Final = codes.LN.CTUnspecifiedBodyRegion
"""CID 100 has no CT of the chest."""

QUALITATIVE_EVALUATIONS: Final = Code("C0034375", "UMLS", "Qualitative Evaluations")
"""TID 1500 row 12."""


def _private(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, PRIVATE_SCHEME, meaning)


REGION_OPACITY_VOLUME: Final = _private("OPACITY_VOLUME", "Volume of infectious opacities in the region")
REGION_OPACITY_PERCENT: Final = _private("OPACITY_PERCENT", "Opacities as percentage of the region's volume")
LOBE_SCORE: Final = _private("LOBE_SCORE", "CT severity score of the lobe, 0 to 5")
SEVERITY_SCORE: Final = _private("SEVERITY_SCORE", "CT severity score, 0 to 25")
INVOLVEMENT: Final = _private("INVOLVEMENT", "Involvement by CT severity score")
DECISION: Final = _private("DECISION", "Outcome of the classification")
QUALITY_FLAG: Final = _private("QUALITY_FLAG", "Quality flag")
NOTICE: Final = _private("NOTICE", "Intended use")

PROBABILITY: Final = {
    Diagnosis.COVID19: _private("P_COVID19", "Probability of COVID-19"),
    Diagnosis.OTHER_INFECTION: _private("P_OTHER", "Probability of other pulmonary infection"),
    Diagnosis.NO_INFECTION: _private("P_NONE", "Probability of no imaging signs of infection"),
}
DECISION_VALUE: Final = {
    Diagnosis.COVID19: _private("COVID19", "Potential COVID-19"),
    Diagnosis.OTHER_INFECTION: _private("OTHER", "Other type of pulmonary infection"),
    Diagnosis.NO_INFECTION: _private("NO_INFECTION", "No imaging signs of infection"),
}
INVOLVEMENT_VALUE: Final = {
    Involvement.NONE: codes.SCT.None_,
    Involvement.MILD: codes.SCT.Mild,
    Involvement.MODERATE: codes.SCT.Moderate,
    Involvement.SEVERE: codes.SCT.Severe,
}

MILLILITRE: Final = Code("mL", "UCUM", "milliliter")
PERCENT: Final = codes.UCUM.Percent
NO_UNITS: Final = codes.UCUM.NoUnits
SCORE_UNITS: Final = Code("{score}", "UCUM", "score")
