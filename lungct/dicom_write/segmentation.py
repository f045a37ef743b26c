"""Masks as DICOM Segmentation: lobes, opacities, airways and vessels, which overlap (ADR 0016, 0021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence, Volume
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

import lungct
from lungct.dicom_write.codes import (
    ABNORMAL_STRUCTURE,
    AIRWAYS,
    ANATOMICAL_STRUCTURE,
    BLOOD_VESSEL,
    BOTH_LUNGS,
    LOBE_SITES,
    OPACITY,
    Site,
)
from lungct.dicom_write.origin import APPLICATION, Origin, finish
from lungct.dicom_write.references import can_refer_to, drop_references
from lungct.records import Analysis, Chest, Float64Array, Lobe, MaskArray, ModelInfo
from lungct.records.orientation import from_canonical
from lungct.report.pictures import LOBE_RGB, OPACITY_RGB
from lungct.report.rendering import AIRWAY_RGB, VESSEL_RGB
from lungct.settings import DicomSettings

ANATOMY_SERIES, OPACITIES_SERIES, TREE_SERIES = 9301, 9302, 9306
"""Series Numbers of our objects lie beyond those of scanners, so that viewers list them last."""

CONTENT_CREATOR = f"{APPLICATION}^AI"
"""Viewers show it where they show a person's name, which has more than one component today."""

LONGEST_STRING = 64
"""Characters of a value of type LO (PS3.5 6.2)."""

_TRANSFER_SYNTAX: dict[str, UID] = {
    "none": ExplicitVRLittleEndian,
    "deflate": ExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg_ls": JPEGLSLossless,
}


@dataclass(frozen=True)
class Segment:
    """What one value of a label map means.

    Attributes:
        identifier: of the segment in all studies (Tracking ID).
        site: where it lies; for anatomy also what it is.
    """

    identifier: str
    label: str
    category: Code
    kind: Code
    site: Site
    rgb: tuple[int, int, int]


_AIRWAYS = Segment("airways", "Airways", ANATOMICAL_STRUCTURE, AIRWAYS.structure, AIRWAYS, AIRWAY_RGB)
_VESSELS = Segment(
    "pulmonary_vessels", "Pulmonary vessels", ANATOMICAL_STRUCTURE, BLOOD_VESSEL, BOTH_LUNGS, VESSEL_RGB
)


def build_lobe_segmentation(
    analysis: Analysis, images: Sequence[Dataset], origin: Origin, settings: DicomSettings
) -> Segmentation:
    """The five lobes, without those that are missing; the others are numbered from 1.

    Viewers hang on empty segments and expect numbers without gaps.

    Args:
        analysis: lobes and what made them.
        images: :func:`lungct.dicom_write.references.list_source_images`.
        origin: identity.
        settings: how to store the masks.
    """
    found = analysis.anatomy.lobes_found
    number_of = np.zeros(len(Lobe) + 1, np.uint8)
    for number, lobe in enumerate(found, start=1):
        number_of[lobe.label] = number
    segments = [_lobe_segment(lobe) for lobe in found]
    identity = origin.identity("anatomy", ANATOMY_SERIES, "Lung lobes (AI, research use only)")
    labels, algorithm = number_of[analysis.anatomy.lobes], _network(analysis.anatomy.model)
    return _segmentation(labels, segments, algorithm, analysis.chest, images, origin, identity, settings)


def build_opacity_segmentation(
    analysis: Analysis, images: Sequence[Dataset], origin: Origin, settings: DicomSettings
) -> Segmentation | None:
    """The opacities; None where there are none. Arguments as for :func:`build_lobe_segmentation`."""
    if not analysis.opacities.mask.any():
        return None
    segment = Segment(
        "infectious_opacities",
        "Infectious lung opacities",
        ABNORMAL_STRUCTURE,
        OPACITY,
        BOTH_LUNGS,
        OPACITY_RGB,
    )
    identity = origin.identity("opacities", OPACITIES_SERIES, "Lung opacities (AI, research use only)")
    mask, algorithm = analysis.opacities.mask, _network(analysis.opacities.model)
    return _segmentation(mask, [segment], algorithm, analysis.chest, images, origin, identity, settings)


def build_tree_segmentation(
    analysis: Analysis, images: Sequence[Dataset], origin: Origin, settings: DicomSettings
) -> Segmentation | None:
    """Airways and vessels; None where there are neither. Arguments as for :func:`build_lobe_segmentation`."""
    found = [
        (mask, segment)
        for mask, segment in ((analysis.tree.airways, _AIRWAYS), (analysis.tree.vessels, _VESSELS))
        if mask.any()
    ]
    if not found:
        return None
    labels = np.zeros_like(found[0][0])
    for number, (mask, _) in enumerate(found, start=1):
        labels[mask > 0] = number
    algorithm = AlgorithmIdentificationSequence(
        name="lungct airways and vessels",
        family=codes.DCM.MorphologicalOperations,
        version=lungct.__version__,
    )
    identity = origin.identity("tree", TREE_SERIES, "Airways and vessels (research use only)")
    segments = [segment for _, segment in found]
    return _segmentation(labels, segments, algorithm, analysis.chest, images, origin, identity, settings)


def _lobe_segment(lobe: Lobe) -> Segment:
    site = LOBE_SITES[lobe]
    label = f"{lobe.replace('_', ' ').capitalize()} lobe"
    return Segment(lobe.value, label, ANATOMICAL_STRUCTURE, site.structure, site, LOBE_RGB[lobe])


def _segmentation(
    labels: MaskArray,
    segments: Sequence[Segment],
    algorithm: AlgorithmIdentificationSequence,
    chest: Chest,
    images: Sequence[Dataset],
    origin: Origin,
    identity: dict[str, Any],
    settings: DicomSettings,
) -> Segmentation:
    """A label map on the canonical grid, stored on the grid of the source."""
    n_source = 1 if "NumberOfFrames" in images[0] else len(images)  # highdicom takes one multi-frame image
    segmentation = Segmentation(
        source_images=images[:n_source],
        further_source_images=images[n_source:],
        pixel_array=_on_source_grid(labels, chest, images),
        segmentation_type=SegmentationTypeValues[settings.segmentation_type.upper()],
        segment_descriptions=[
            _description(number, segment, algorithm, origin)
            for number, segment in enumerate(segments, start=1)
        ],
        transfer_syntax_uid=_TRANSFER_SYNTAX[settings.compression],
        omit_empty_frames=settings.omit_empty_frames,
        content_label="SEGMENTATION",
        content_description=_shorten("; ".join(filter(None, ("Research use only", origin.outside_method)))),
        **identity,
    )
    organization_uid = origin.uid("dimensions", segmentation.SOPInstanceUID)
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization_uid
    for index in segmentation.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization_uid
    segmentation.ContentCreatorName = CONTENT_CREATOR
    if not can_refer_to(chest):
        drop_references(segmentation)
    finish(segmentation, origin)
    if settings.compression == "deflate":
        segmentation.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return segmentation


def _shorten(text: str) -> str:
    """Cut to what a Long String holds."""
    return text if len(text) <= LONGEST_STRING else f"{text[: LONGEST_STRING - 3]}..."


def _on_source_grid(labels: MaskArray, chest: Chest, images: Sequence[Dataset]) -> MaskArray | Volume:
    """The label map in the order of the source, or with its own geometry where it is not as stored."""
    stored = np.ascontiguousarray(from_canonical(labels, chest.source))
    frames = [image.frame for image in chest.source.images]
    is_multi_frame = "NumberOfFrames" in images[0]
    if frames and not is_multi_frame:
        return stored
    if frames and len(images) == 1 and images[0].NumberOfFrames == len(frames):
        return stored[np.argsort(frames)]
    return Volume(
        stored,
        _orthogonal(chest.source.affine_lps),
        coordinate_system="PATIENT",
        frame_of_reference_uid=images[0].FrameOfReferenceUID,
    )


def _orthogonal(affine_lps: Float64Array) -> Float64Array:
    """The nearest grid with right angles: headers round directions, and highdicom is strict."""
    spacing_mm = np.linalg.norm(affine_lps[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine_lps[:3, :3] / spacing_mm)
    nearest = affine_lps.copy()
    nearest[:3, :3] = (left @ right) * spacing_mm
    return nearest


def _network(model: ModelInfo) -> AlgorithmIdentificationSequence:
    return AlgorithmIdentificationSequence(
        name=f"lungct {model.name}",
        family=codes.DCM.ArtificialIntelligence,
        version=model.version,
        parameters={"weights SHA-256": model.sha256},
    )


def _description(
    number: int, segment: Segment, algorithm: AlgorithmIdentificationSequence, origin: Origin
) -> SegmentDescription:
    description = SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=segment.category,
        segmented_property_type=segment.kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=origin.uid("tracking", segment.identifier),
        tracking_id=segment.identifier,
        anatomic_regions=[segment.site.structure],
        display_color=CIELabColor.from_rgb(*segment.rgb),
    )
    if segment.site.laterality is not None:
        side = [CodedConcept.from_code(segment.site.laterality)]
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = side
        if segment.kind == segment.site.structure:
            description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = side
    return description
