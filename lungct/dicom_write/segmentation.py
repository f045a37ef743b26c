"""Masks as DICOM Segmentation: lobes, opacities, airways and vessels, which overlap (ADR 0016, 0021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from lungct.file_names import ANATOMY_SEG, OPACITIES_SEG, TREE_SEG
from lungct.records import Analysis, Chest, Float64Array, Lobe, MaskArray, ModelInfo
from lungct.records.orientation import from_canonical
from lungct.report.pictures import LOBE_RGB, OPACITY_RGB
from lungct.report.rendering import AIRWAY_RGB, VESSEL_RGB
from lungct.settings import DicomSettings

CONTENT_CREATOR = f"{APPLICATION}^AI"
"""Maker in place of a person: viewers show it where names have more than one component today."""

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
    """The meaning of one value of a label map.

    Attributes:
        identifier: name of the segment in all studies (Tracking ID).
        site: where it lies; for anatomy also what it is.
    """

    identifier: str
    label: str
    category: Code
    kind: Code
    site: Site
    rgb: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _LabelMap:
    """Everything that one object is made from.

    Attributes:
        labels: ``[slices, rows, columns]`` on the canonical grid; segments are numbered from 1 without gaps,
            which viewers expect.
        series_number: beyond the numbers of scanners, so that viewers list ours last.
    """

    labels: MaskArray
    segments: Sequence[Segment]
    algorithm: AlgorithmIdentificationSequence
    series_number: int
    kind: str
    description: str


_OPACITIES = Segment(
    "infectious_opacities", "Infectious lung opacities", ABNORMAL_STRUCTURE, OPACITY, BOTH_LUNGS, OPACITY_RGB
)
_AIRWAYS = Segment("airways", "Airways", ANATOMICAL_STRUCTURE, AIRWAYS.structure, AIRWAYS, AIRWAY_RGB)
_VESSELS = Segment(
    "pulmonary_vessels", "Pulmonary vessels", ANATOMICAL_STRUCTURE, BLOOD_VESSEL, BOTH_LUNGS, VESSEL_RGB
)


def build_segmentations(
    analysis: Analysis, images: Sequence[Dataset], origin: Origin, settings: DicomSettings
) -> dict[str, Segmentation]:
    """Build the segmentations of lobes, opacities, airways and vessels, by file name.

    Those without any voxel are left out: viewers hang on empty segments. ``images`` are those of
    :func:`lungct.dicom_write.references.list_source_images`.
    """
    maps = {
        ANATOMY_SEG: _map_lobes(analysis),
        OPACITIES_SEG: _map_opacities(analysis),
        TREE_SEG: _map_tree(analysis),
    }
    return {
        name: _build(label_map, analysis.chest, images, origin, settings)
        for name, label_map in maps.items()
        if label_map.segments
    }


def _map_lobes(analysis: Analysis) -> _LabelMap:
    found = analysis.anatomy.lobes_found
    number_of = np.zeros(len(Lobe) + 1, np.uint8)
    for number, lobe in enumerate(found, start=1):
        number_of[lobe.label] = number
    labels, algorithm = number_of[analysis.anatomy.lobes], _describe_network(analysis.anatomy.model)
    segments = [
        Segment(
            lobe.value,
            f"{lobe.replace('_', ' ').capitalize()} lobe",
            ANATOMICAL_STRUCTURE,
            LOBE_SITES[lobe].structure,
            LOBE_SITES[lobe],
            LOBE_RGB[lobe],
        )
        for lobe in found
    ]
    return _LabelMap(labels, segments, algorithm, 9301, "anatomy", "Lung lobes (AI, research use only)")


def _map_opacities(analysis: Analysis) -> _LabelMap:
    mask, algorithm = analysis.opacities.mask, _describe_network(analysis.opacities.model)
    segments = [_OPACITIES] if mask.any() else []
    return _LabelMap(mask, segments, algorithm, 9302, "opacities", "Lung opacities (AI, research use only)")


def _map_tree(analysis: Analysis) -> _LabelMap:
    """Return airways and vessels in one map; vessels are never in airways."""
    labels, segments = np.zeros_like(analysis.tree.airways), []
    for mask, segment in ((analysis.tree.airways, _AIRWAYS), (analysis.tree.vessels, _VESSELS)):
        if mask.any():
            segments.append(segment)
            labels[mask > 0] = len(segments)
    algorithm = AlgorithmIdentificationSequence(
        name="lungct airways and vessels",
        family=codes.DCM.MorphologicalOperations,
        version=lungct.__version__,
    )
    return _LabelMap(labels, segments, algorithm, 9306, "tree", "Airways and vessels (research use only)")


def _build(
    label_map: _LabelMap, chest: Chest, images: Sequence[Dataset], origin: Origin, settings: DicomSettings
) -> Segmentation:
    """Store a label map on the grid of the source."""
    n_source = 1 if "NumberOfFrames" in images[0] else len(images)  # highdicom takes one multi-frame image
    segmentation = Segmentation(
        source_images=images[:n_source],
        further_source_images=images[n_source:],
        pixel_array=_lay_on_source_grid(label_map.labels, chest, images),
        segmentation_type=SegmentationTypeValues[settings.segmentation_type.upper()],
        segment_descriptions=[
            _describe_segment(number, segment, label_map.algorithm, origin)
            for number, segment in enumerate(label_map.segments, start=1)
        ],
        transfer_syntax_uid=_TRANSFER_SYNTAX[settings.compression],
        omit_empty_frames=settings.omit_empty_frames,
        content_label="SEGMENTATION",
        content_description=_shorten("; ".join(filter(None, ("Research use only", origin.outside_method)))),
        **origin.identity(label_map.kind, label_map.series_number, label_map.description),
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
    """Cut a text to what a Long String holds."""
    return text if len(text) <= LONGEST_STRING else f"{text[: LONGEST_STRING - 3]}..."


def _lay_on_source_grid(labels: MaskArray, chest: Chest, images: Sequence[Dataset]) -> MaskArray | Volume:
    """Return a label map in the order of the source, or with its own geometry where it is not as stored."""
    stored = np.ascontiguousarray(from_canonical(labels, chest.source))
    frames = [image.frame for image in chest.source.images]
    is_multi_frame = "NumberOfFrames" in images[0]
    if frames and not is_multi_frame:
        return stored
    if frames and len(images) == 1 and images[0].NumberOfFrames == len(frames):
        return stored[np.argsort(frames)]
    return Volume(
        stored,
        _straighten(chest.source.affine_lps),
        coordinate_system="PATIENT",
        frame_of_reference_uid=images[0].FrameOfReferenceUID,
    )


def _straighten(affine_lps: Float64Array) -> Float64Array:
    """Return the nearest grid with right angles: headers round directions, and highdicom is strict."""
    spacing_mm = np.linalg.norm(affine_lps[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine_lps[:3, :3] / spacing_mm)
    nearest = affine_lps.copy()
    nearest[:3, :3] = (left @ right) * spacing_mm
    return nearest


def _describe_network(model: ModelInfo) -> AlgorithmIdentificationSequence:
    return AlgorithmIdentificationSequence(
        name=f"lungct {model.name}",
        family=codes.DCM.ArtificialIntelligence,
        version=model.version,
        parameters={"weights SHA-256": model.sha256},
    )


def _describe_segment(
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
