"""The conclusion of an analysis, with the quality flags that a reader must know before believing it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from lungct.anatomy.lungs import AERATED_HU
from lungct.anatomy.solid_lung import FAR_MM, find_solid_lung
from lungct.findings.classification import DECISION_CUT_OFF, decide
from lungct.records import (
    LEFT_LOBES,
    Analysis,
    BronchovascularTree,
    Chest,
    Classification,
    CtVolume,
    Diagnosis,
    Findings,
    Lobe,
    LungAnatomy,
    ModelInfo,
    Opacities,
    PatientStudy,
    Probabilities,
    QualityFlag,
    Quantification,
    Selection,
)

LOBES_IN_DOUBT = "ORIENTATION_DOUBTFUL"
"""Code of the flag that puts every side and lobe in doubt."""

SEVERE_FLAGS = ("OUTSIDE_METHOD", LOBES_IN_DOUBT, "SOLID_LUNG")
"""Codes that forbid to rely on the findings; every page and picture shows them before anything else."""

NOT_RECOMMENDED = (
    "THICK_SLICES", "OTHER_KERNEL", "EXPIRATION", "LUNGS_CUT", "DERIVED_IMAGES", "BODY_PART_CONTRADICTED",
)  # fmt: skip
"""Preferences of the series selection that limit what the networks can see."""

PLAUSIBLE_LUNG_ML = (1500.0, 9500.0)
"""Adult total lung capacity at CT, from severe restriction to hyperinflation."""

SMALLEST_LOBE_ML = 30.0
"""Volume below which a lobe counts as missing: lobectomy, collapse or a failure of the segmenter. Own
decision."""

PLAUSIBLE_LEFT_TO_RIGHT = (0.4, 1.8)
"""Volume of the left lung over that of the right; normal is about 0.85. Own decision."""

PLAUSIBLE_SHARE_OF_LUNG: Mapping[Lobe, tuple[float, float]] = {
    Lobe.LEFT_UPPER: (0.26, 0.74),
    Lobe.LEFT_LOWER: (0.26, 0.74),
    Lobe.RIGHT_UPPER: (0.16, 0.60),
    Lobe.RIGHT_MIDDLE: (0.02, 0.36),
    Lobe.RIGHT_LOWER: (0.19, 0.82),
}
"""A lobe's share of its lung: the range in the 51 patients of Tang et al. 2019, a quarter of its width wider
on both sides (the left lobes alike, since one is what the other leaves), as printed by ``lungct evaluate
lobe-shares``. For the middle lobe that begins below zero; 0.02 is an own decision."""

LOWEST_CONFIDENCE = 0.8
"""Mean probability below which a lobe's borders cannot be trusted. Own decision."""

SMALLEST_AERATED_SHARE = 0.2
"""Smallest share of a lobe that holds air: even a consolidated lobe has air in its bronchi. Own decision."""

MOST_SOLID_ML = 30.0
"""Most solid tissue far from air in a lobe; vessels, nodules, most atelectasis are near air. Own decision."""

TRUNCATED_AREA_MM2 = 2000.0
"""Lung area on the outermost slice, or on an edge of the field of view, that only a cut-off lung reaches."""

DISAGREEMENT_PERCENT = 1.0
"""Affected share of the lungs that contradicts "no signs of infection". Own decision."""


def conclude(
    chest: Chest,
    anatomy: LungAnatomy,
    classification: Classification,
    opacities: Opacities,
    tree: BronchovascularTree,
    quantification: Quantification,
) -> Analysis:
    """Apply the decision rule and collect the quality flags, those of the input first."""
    probabilities, models = (
        classification.probabilities,
        (anatomy.model, classification.model, opacities.model),
    )
    diagnosis = decide(probabilities)
    flags = (
        *flag_method(chest.selection),
        *chest.volume.flags,
        *flag_selection(chest.selection),
        *flag_character_set(chest.patient),
        *flag_truncation(anatomy, chest.volume),
        *flag_lung_volumes(quantification),
        *flag_airless_lobes(anatomy, chest.volume),
        *flag_solid_lung(anatomy, chest.volume),
        *flag_confidence(anatomy),
        *flag_familiarity(classification),
        *flag_agreement(probabilities, diagnosis, quantification),
        *flag_tree(tree),
        *flag_models(models),
    )
    validation = classification.model.validated_on
    findings = Findings(probabilities, diagnosis, quantification, flags, models, validation)
    return Analysis(chest, anatomy, opacities, tree, findings)


def flag_method(selection: Selection) -> Iterator[QualityFlag]:
    """Flag rules for the input that the user switched off."""
    if codes := ", ".join(selection.accepted_codes):
        yield QualityFlag(
            "OUTSIDE_METHOD",
            f"rules were switched off for this analysis ({codes}): nobody validated the result",
        )


def flag_selection(selection: Selection) -> Iterator[QualityFlag]:
    """Flag a series that is allowed but not as recommended, or one of several studies."""
    studies = {verdict.series.study_uid for verdict in selection.verdicts}
    if len(studies) > 1:
        yield QualityFlag("SEVERAL_STUDIES", _several_studies(len(studies), selection))
    for preference in selection.first.preferences if selection.first else ():
        if preference.code in NOT_RECOMMENDED:
            yield QualityFlag(preference.code, preference.message)
    if selection.chosen and not selection.chosen.frame_of_reference_uid:
        yield QualityFlag(
            "FRAME_OF_REFERENCE_MISSING",
            "the images share no Frame of Reference UID; viewers may not lay the masks over them",
        )
    if selection.chosen and any(image.is_lossy for image in selection.chosen.slices):
        yield QualityFlag(
            "LOSSY_COMPRESSION", "the images were compressed with loss; faint opacities may have changed"
        )


def _several_studies(n_studies: int, selection: Selection) -> str:
    """Tell which study of several was analysed, by its date."""
    analysed, seen = selection.chosen, selection.study_dates_seen
    text = f"the input holds {n_studies} studies; one series of one study was analysed"
    if analysed is None or not seen:
        return text
    dates = ", ".join(map(hyphenate, seen))
    if not analysed.study_date:
        return f"{text}, which has no date; dates seen: {dates}"
    newest = "the newest" if analysed.study_date == seen[-1] else "not the newest"
    return f"{text}, {newest}, of {hyphenate(analysed.study_date)}; dates seen: {dates}"


def hyphenate(day: str) -> str:
    """Write a date of eight digits, year first, with hyphens; return any other text as it is."""
    is_date = len(day) == len("YYYYMMDD") and day.isdecimal()
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if is_date else day


def flag_character_set(patient: PatientStudy) -> Iterator[QualityFlag]:
    """Flag text of the header in another character set than it declares."""
    if patient.misfits:
        yield QualityFlag(
            "NAME_CHARACTER_SET",
            f"not in the character set that the header declares: {', '.join(patient.misfits)}; the report "
            "does not print them, and the DICOM results carry the bytes of the source",
        )


def flag_truncation(anatomy: LungAnatomy, volume: CtVolume) -> Iterator[QualityFlag]:
    """Flag lungs that reach the border of the volume."""
    slice_mm, row_mm, column_mm = volume.spacing_mm
    lung = anatomy.lobes > 0
    ends = {
        "LUNG_BASE_TRUNCATED": (lung[0], row_mm * column_mm, "the lung bases are cut off"),
        "LUNG_APEX_TRUNCATED": (lung[-1], row_mm * column_mm, "the lung apices are cut off"),
        "FIELD_OF_VIEW_CROPPED": (
            np.concatenate([lung[:, [0, -1]].reshape(-1), lung[:, :, [0, -1]].reshape(-1)]),
            slice_mm * min(row_mm, column_mm),
            "the lungs reach the edge of the field of view",
        ),
    }
    for code, (border, area_mm2, what) in ends.items():
        if np.count_nonzero(border) * area_mm2 > TRUNCATED_AREA_MM2:
            yield QualityFlag(code, f"{what}: lung volumes are underestimated")


def flag_lung_volumes(quantification: Quantification) -> Iterator[QualityFlag]:
    """Flag lungs, sides or lobes of implausible size."""
    total_ml = quantification.total.lung_ml
    low, high = PLAUSIBLE_LUNG_ML
    if not low <= total_ml <= high:
        yield QualityFlag(
            "LUNG_VOLUME_IMPLAUSIBLE",
            f"lung volume of {total_ml:.0f} mL is outside {low:.0f} to {high:.0f} mL",
        )
    for lobe in Lobe:
        if quantification.lobes[lobe].lung_ml < SMALLEST_LOBE_ML:
            name, found_ml = lobe.replace("_", " "), quantification.lobes[lobe].lung_ml
            message = f"{name} lobe: {found_ml:.0f} mL found; it may be missing, collapsed or not recognised"
            yield QualityFlag("LOBE_MISSING", message)
    for lobe, (low, high) in PLAUSIBLE_SHARE_OF_LUNG.items():
        lung = quantification.left_lung if lobe in LEFT_LOBES else quantification.right_lung
        lobe_ml = quantification.lobes[lobe].lung_ml
        if lobe_ml >= SMALLEST_LOBE_ML and not low <= lobe_ml / lung.lung_ml <= high:
            message = f"{lobe.replace('_', ' ')} lobe: {100 * lobe_ml / lung.lung_ml:.0f} % of its lung"
            yield QualityFlag(
                "LOBE_SHARE_IMPLAUSIBLE", f"{message}, outside {100 * low:.0f} to {100 * high:.0f} %"
            )
    left_ml, right_ml = quantification.left_lung.lung_ml, quantification.right_lung.lung_ml
    low, high = PLAUSIBLE_LEFT_TO_RIGHT
    if not low * right_ml <= left_ml <= high * right_ml:
        yield QualityFlag(
            "LUNGS_ASYMMETRIC", f"left lung {left_ml:.0f} mL against right lung {right_ml:.0f} mL"
        )


def flag_airless_lobes(anatomy: LungAnatomy, volume: CtVolume) -> Iterator[QualityFlag]:
    """Flag lobes that hold hardly any air."""
    without_air = []
    for lobe in Lobe:
        lobe_hu = volume.volume_hu[anatomy.lobes == lobe.label]
        if lobe_hu.size and np.count_nonzero(lobe_hu < AERATED_HU) < SMALLEST_AERATED_SHARE * lobe_hu.size:
            without_air.append(lobe.replace("_", " "))
    if without_air:
        yield QualityFlag(
            "LOBES_WITHOUT_AIR",
            f"hardly any air in these lobes: {', '.join(without_air)}; consolidation, effusion, collapse "
            "and a removed lung look alike",
        )


def flag_solid_lung(anatomy: LungAnatomy, volume: CtVolume) -> Iterator[QualityFlag]:
    """Flag lobes with much solid tissue far from air, which may be no lung."""
    lobe_ml = find_solid_lung(volume, anatomy.lobes).lobe_ml
    large = [f"{lobe.replace('_', ' ')} {ml:.0f} mL" for lobe, ml in lobe_ml.items() if ml > MOST_SOLID_ML]
    if large:
        yield QualityFlag(
            "SOLID_LUNG",
            f"solid and farther than {FAR_MM:.0f} mm from air in these lobes: {', '.join(large)}; "
            "consolidation, a mass, or tissue that is no lung: the severity score may be wrong",
        )


def flag_confidence(anatomy: LungAnatomy) -> Iterator[QualityFlag]:
    """Flag lobes that the network was not sure about."""
    unsure = [
        f"{lobe.replace('_', ' ')} ({value:.2f})"
        for lobe, value in anatomy.confidence.items()
        if value < LOWEST_CONFIDENCE
    ]
    if unsure:
        yield QualityFlag(
            "LOBES_UNCERTAIN", f"the segmenter is not sure about these lobes: {', '.join(unsure)}"
        )


def flag_familiarity(classification: Classification) -> Iterator[QualityFlag]:
    """Flag a chest unlike those that the classifier was validated on."""
    energy, highest = classification.energy, classification.highest_energy
    if highest is not None and energy > highest:
        yield QualityFlag(
            "CLASSIFIER_UNFAMILIAR",
            f"this chest is unlike those of the classifier's validation (energy {energy:.2f}, above "
            f"{highest:.2f}): its probabilities may mean nothing",
        )


def flag_agreement(
    probabilities: Probabilities, diagnosis: Diagnosis, quantification: Quantification
) -> Iterator[QualityFlag]:
    """Flag a classifier that is not sure, or that the opacity segmenter contradicts."""
    if max(vars(probabilities).values()) <= DECISION_CUT_OFF:
        yield QualityFlag("CLASSIFICATION_UNCERTAIN", f"no class is more probable than {DECISION_CUT_OFF}")
    affected_percent = quantification.total.opacity_percent or 0.0
    if diagnosis is Diagnosis.NO_INFECTION and affected_percent >= DISAGREEMENT_PERCENT:
        yield QualityFlag(
            "CLASSIFIER_SEGMENTER_DISAGREE",
            f"classified as no signs of infection, yet {affected_percent:.1f} % of the lungs is opacity",
        )
    if diagnosis is not Diagnosis.NO_INFECTION and quantification.severity_score == 0:
        yield QualityFlag(
            "CLASSIFIER_SEGMENTER_DISAGREE", "classified as infection, yet no opacity was found"
        )


def flag_tree(tree: BronchovascularTree) -> Iterator[QualityFlag]:
    """Flag airways or vessels that were looked for in vain."""
    missing = [name for name in ("airways", "vessels") if not getattr(tree, name).any()]
    if tree.is_wanted and missing:
        yield QualityFlag(
            "TREE_NOT_SEGMENTED", f"{' and '.join(missing)} not found; pictures and segmentations lack them"
        )


def flag_models(models: Iterable[ModelInfo]) -> Iterator[QualityFlag]:
    """Flag weights that are not validated."""
    names = [model.name for model in models if model.provisional]
    if names:
        yield QualityFlag("MODELS_PROVISIONAL", f"weights not validated: {', '.join(names)}")
