"""Masks as DICOM Segmentation: lobes in one object, opacities in another (they overlap; ADR 0016)."""

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

from lungct.dicom_write.codes import (
    ABNORMAL_STRUCTURE,
    ANATOMICAL_STRUCTURE,
    BOTH_LUNGS,
    LOBE_SITES,
    OPACITY,
    Site,
)
from lungct.dicom_write.common import Origin, finish
from lungct.geometry import from_canonical
from lungct.records import Analysis, Chest, Lobe, MaskArray, ModelInfo
from lungct.report.pictures import LOBE_RGB, OPACITY_RGB
from lungct.settings import DicomSettings

ANATOMY_SERIES, FINDINGS_SERIES = 9301, 9302
"""Series Numbers of our objects lie beyond those of scanners, so that viewers list them last."""

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


def lobes_found(lobes: MaskArray) -> tuple[Lobe, ...]:
    """The lobes of a label map that have voxels; their places here, from 1, are their segment numbers.

    Viewers hang on empty segments and expect numbers without gaps.
    """
    return tuple(lobe for lobe in Lobe if (lobes == lobe.label).any())


def anatomy_segmentation(
    analysis: Analysis, images: Sequence[Dataset], origin: Origin, settings: DicomSettings
) -> Segmentation:
    """The five lobes, without those that are missing.

    Args:
        analysis: lobes and what made them.
        images: :func:`lungct.dicom_write.references.source_images`.
        origin: identity.
        settings: how to store the masks.
    """
    found = lobes_found(analysis.anatomy.lobes)
    number_of = np.zeros(len(Lobe) + 1, np.uint8)
    for number, lobe in enumerate(found, start=1):
        number_of[lobe.label] = number
    segments = [_lobe_segment(lobe) for lobe in found]
    identity = origin.identity("anatomy", ANATOMY_SERIES, "Lung lobes (AI, research use only)")
    labels, model = number_of[analysis.anatomy.lobes], analysis.anatomy.model
    return _segmentation(labels, segments, model, analysis.chest, images, origin, identity, settings)


def findings_segmentation(
    analysis: Analysis, images: Sequence[Dataset], origin: Origin, settings: DicomSettings
) -> Segmentation | None:
    """The opacities; None where there are none. Arguments as for :func:`anatomy_segmentation`."""
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
    identity = origin.identity("findings", FINDINGS_SERIES, "Lung opacities (AI, research use only)")
    mask, model = analysis.opacities.mask, analysis.opacities.model
    return _segmentation(mask, [segment], model, analysis.chest, images, origin, identity, settings)


def _lobe_segment(lobe: Lobe) -> Segment:
    site = LOBE_SITES[lobe]
    label = f"{lobe.replace('_', ' ').capitalize()} lobe"
    return Segment(lobe.value, label, ANATOMICAL_STRUCTURE, site.structure, site, LOBE_RGB[lobe])


def _segmentation(
    labels: MaskArray,
    segments: Sequence[Segment],
    model: ModelInfo,
    chest: Chest,
    images: Sequence[Dataset],
    origin: Origin,
    identity: dict[str, Any],
    settings: DicomSettings,
) -> Segmentation:
    """A label map on the canonical grid, stored on the grid of the source."""
    segmentation = Segmentation(
        source_images=images,
        pixel_array=_on_source_grid(labels, chest, images),
        segmentation_type=SegmentationTypeValues[settings.segmentation_type.upper()],
        segment_descriptions=[
            _description(number, segment, model, origin) for number, segment in enumerate(segments, start=1)
        ],
        transfer_syntax_uid=_TRANSFER_SYNTAX[settings.compression],
        omit_empty_frames=settings.omit_empty_frames,
        content_label="SEGMENTATION",
        content_description="Research use only",
        **identity,
    )
    organization_uid = origin.uid("dimensions", segmentation.SOPInstanceUID)
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization_uid
    for index in segmentation.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization_uid
    finish(segmentation, origin)
    if settings.compression == "deflate":
        segmentation.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return segmentation


def _on_source_grid(labels: MaskArray, chest: Chest, images: Sequence[Dataset]) -> MaskArray | Volume:
    """The label map with its slices in the order of ``images``, or with its own geometry where resampled."""
    stored = np.ascontiguousarray(from_canonical(labels, chest.source))
    frames = [image.frame for image in chest.source.images]
    is_one_to_one = len(images) == len(frames) or (
        len(images) == 1 and images[0].get("NumberOfFrames") == len(frames)
    )
    if frames and is_one_to_one:
        return stored if len(images) == len(frames) else stored[np.argsort(frames)]
    return Volume(
        stored,
        chest.source.affine_lps,
        coordinate_system="PATIENT",
        frame_of_reference_uid=images[0].FrameOfReferenceUID,
    )


def _description(number: int, segment: Segment, model: ModelInfo, origin: Origin) -> SegmentDescription:
    description = SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=segment.category,
        segmented_property_type=segment.kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=f"lungct {model.name}",
            family=codes.DCM.ArtificialIntelligence,
            version=model.version,
            parameters={"weights SHA-256": model.sha256},
        ),
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
