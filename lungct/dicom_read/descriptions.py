"""What the free text of a header says about patient and region; the text itself is not kept."""

from __future__ import annotations

import re

from pydicom import Dataset

from lungct.dicom_read.headers import items_of, text

CHEST_NAMES = ("CHEST", "THORA", "TORAX", "TORAC", "LUNG", "PULMO", "POUMON", "POLMON", "LONG", "BRUST")
"""How descriptions name the chest, in capitals."""

OTHER_PARTS = re.compile(
    r"\b(HEAD|BRAIN|SKULL|FACE|FACIAL|SINUS|JAW|ORBIT|EAR\b|NECK|CAROTID|[CTL] ?SPINE|SPINE|SACRUM|SHOULDER|"
    r"CLAVICLE|SCAPULA|ARM\b|HUMERUS|ELBOW|FOREARM|WRIST|HAND\b|FINGER|HEART|CARDIAC|CORONARY|BREAST|AORTA|"
    r"ABDOM|LIVER|PANCREAS|KIDNEY|ADRENAL|SPLEEN|BLADDER|PROSTATE|UTERUS|COLON|PELVI|HIP\b|THIGH|FEMUR|"
    r"LEG\b|KNEE|TIBIA|CALF|ANKLE|FOOT|TOE\b|EXTREMIT|KOPF|HALS|BAUCH|BECKEN|CRANE|COU\b|BASSIN)"
)
"""Body parts of PS3.16 annex L, and some words of other languages, that show no whole lungs. Sites write what
they like into these attributes, so what is not known here does not speak against a series."""

_SERIES_TEXTS = ("SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription")
_STUDY_TEXTS = ("StudyDescription", "RequestedProcedureDescription")

_HUMAN_WORDS = re.compile(
    r"HUMAN|HOMO|SAPIENS|PERSON|MENSCH|HUMAIN|UMANO|HUMANO|MENS\b|UNKNOWN|N/?A\b|NONE|NOT "
)
_HUMAN_CODES = {"337915000", "L-85B00"}
"""Homo sapiens in SNOMED CT and in the SNOMED RT identifiers of older DICOM (PS3.16 CID 7454)."""


def says_chest(dataset: Dataset) -> bool:
    """Return whether descriptions name the chest; those of the series outweigh those of the study."""
    for keywords in (_SERIES_TEXTS, _STUDY_TEXTS):
        description = " ".join(text(dataset, keyword) for keyword in keywords).upper()
        if any(name in description for name in CHEST_NAMES):
            return True
        if OTHER_PARTS.search(description):
            return False
    return False


def is_animal(dataset: Dataset) -> bool:
    """Return whether species, breed, neutering or an owner say that the patient is no human."""
    species = text(dataset, "PatientSpeciesDescription").upper()
    codes = {text(item, "CodeValue") for item in items_of(dataset, "PatientSpeciesCodeSequence")} - {""}
    if species and not _HUMAN_WORDS.search(species):
        return True
    if codes:
        return codes.isdisjoint(_HUMAN_CODES)
    breed = text(dataset, "PatientBreedDescription").upper()
    return bool(
        (breed and not _HUMAN_WORDS.search(breed))
        or items_of(dataset, "PatientBreedCodeSequence")
        or text(dataset, "PatientSexNeutered")
        or text(dataset, "ResponsiblePersonRole").upper() == "OWNER"
    )
