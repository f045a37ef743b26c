"""The measurements as a structured report, TID 1500, that refers to the segmentations (ADR 0017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from highdicom.seg import Segmentation
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

import lungct
from lungct.dicom_write import codes as concepts
from lungct.dicom_write.origin import APPLICATION, Origin, finish, valid_uid
from lungct.dicom_write.references import can_refer_to
from lungct.records import LEFT_LOBES, RIGHT_LOBES, Analysis, Diagnosis, Extent, Findings, Lobe
from lungct.report.result import NOTICE

SERIES = 9303
DECIMALS = 3
"""Decimals of volumes and percentages; a voxel of a chest CT has about 0.0005 mL."""

Group = MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations


def build_structured_report(
    analysis: Analysis,
    images: Sequence[Dataset],
    anatomy: Segmentation,
    opacities: Segmentation | None,
    origin: Origin,
) -> Comprehensive3DSR:
    """Build a report of probabilities, decision, score, flags, and the volumes of every region.

    It refers to the source ``images`` and to the segmentations of lobes and, where there are any, opacities.
    """
    groups = _lobes(analysis, anatomy, origin) + _lungs(analysis, anatomy, origin)
    if opacities is not None:
        groups.append(_opacities(analysis, opacities, origin))
    content = MeasurementReport(
        observation_context=_observer(origin),
        procedure_reported=concepts.PROCEDURE,
        imaging_measurements=groups,
    )
    root = content[0].ContentSequence
    root[-1].ContentSequence.extend(_algorithm(analysis.findings))
    root.append(_evaluations(analysis.findings))
    report = Comprehensive3DSR(
        evidence=[
            *(images if can_refer_to(analysis.chest) else ()),
            anatomy,
            *([opacities] if opacities else []),
        ],
        content=content,
        is_complete=True,
        coding_schemes=[concepts.PRIVATE_SCHEME_ITEM],
        **origin.identity("report", SERIES, "Measurements (AI, research use only)"),
    )
    finish(report, origin)
    return report


def _observer(origin: Origin) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=UID(generate_uid(entropy_srcs=[APPLICATION, origin.serial_number])),
        name=APPLICATION,
        manufacturer_name=APPLICATION,
        model_name=f"{APPLICATION} {lungct.__version__}",
        serial_number=origin.serial_number,
    )
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _algorithm(findings: Findings) -> AlgorithmIdentification:
    """Identify the application, and every model with its version and checksum (TID 4019)."""
    return AlgorithmIdentification(
        name=APPLICATION,
        version=lungct.__version__,
        parameters=[
            _in_ascii(
                f"model {model.name} {model.version}{' (provisional)' if model.provisional else ''}, "
                f"weights SHA-256 {model.sha256}"
            )
            for model in findings.models
        ],
    )


def _evaluations(findings: Findings) -> ContainerContentItem:
    """Return decision, involvement, notice and flags (TID 1500 rows 12 to 14)."""
    contains = RelationshipTypeValues.CONTAINS
    involvement = concepts.INVOLVEMENT_VALUE[findings.quantification.involvement]
    container = ContainerContentItem(concepts.QUALITATIVE_EVALUATIONS, relationship_type=contains)
    container.ContentSequence = ContentSequence(
        [
            CodeContentItem(concepts.DECISION, concepts.DECISION_VALUE[findings.diagnosis], contains),
            CodeContentItem(concepts.INVOLVEMENT, involvement, contains),
            TextContentItem(concepts.NOTICE, NOTICE, contains),
            *(
                TextContentItem(concepts.QUALITY_FLAG, _in_ascii(f"{flag.code}: {flag.message}"), contains)
                for flag in findings.flags
            ),
        ]
    )
    return container


def _in_ascii(text: str) -> str:
    """Replace letters that the character set of the source may lack: messages may quote other files."""
    return text.encode("ascii", "replace").decode()


def _lobes(analysis: Analysis, segmentation: Segmentation, origin: Origin) -> list[Group]:
    """Return a group for every lobe that has a segment; a flag tells of the others."""
    quantification = analysis.findings.quantification
    return [
        VolumetricROIMeasurementsAndQualitativeEvaluations(
            **_region(lobe.value, concepts.LOBE_SITES[lobe], origin),
            referenced_segment=_segments(segmentation, [number], analysis),
            measurements=[
                *_extent(quantification.lobes[lobe]),
                Measurement(concepts.LOBE_SCORE, quantification.lobe_scores[lobe], concepts.SCORE_UNITS),
            ],
        )
        for number, lobe in enumerate(analysis.anatomy.lobes_found, start=1)
    ]


def _lungs(analysis: Analysis, segmentation: Segmentation, origin: Origin) -> list[Group]:
    """Return a group for each lung, and one for both with all that concerns the whole study.

    A lung is several segments and TID 1411 allows one, so these groups follow TID 1501, which lets them
    refer to any image.
    """
    quantification, found = analysis.findings.quantification, analysis.anatomy.lobes_found
    probabilities = vars(analysis.findings.probabilities).items()
    study = [
        *(
            Measurement(concepts.PROBABILITY[Diagnosis(name)], round(value, 6), concepts.NO_UNITS)
            for name, value in probabilities
        ),
        Measurement(concepts.SEVERITY_SCORE, quantification.severity_score, concepts.SCORE_UNITS),
    ]
    groups: list[Group] = []
    for identifier, site, lobes, extent, more in (
        ("left_lung", concepts.LEFT_LUNG, LEFT_LOBES, quantification.left_lung, []),
        ("right_lung", concepts.RIGHT_LUNG, RIGHT_LOBES, quantification.right_lung, []),
        ("both_lungs", concepts.BOTH_LUNGS, tuple(Lobe), quantification.total, study),
    ):
        if segments := [number for number, lobe in enumerate(found, start=1) if lobe in lobes]:
            group = MeasurementsAndQualitativeEvaluations(
                **_region(identifier, site, origin), measurements=[*_extent(extent), *more]
            )
            group[0].ContentSequence.extend(_segments(segmentation, segments, analysis))
            groups.append(group)
    return groups


def _opacities(analysis: Analysis, segmentation: Segmentation, origin: Origin) -> Group:
    region = _region("infectious_opacities", concepts.BOTH_LUNGS, origin)
    region["finding_type"] = concepts.OPACITY
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        **region,
        referenced_segment=_segments(segmentation, [1], analysis),
        measurements=[_volume(codes.SCT.Volume, analysis.findings.quantification.total.opacity_ml)],
    )


def _region(identifier: str, site: concepts.Site, origin: Origin) -> dict[str, Any]:
    """Return the arguments that tell what a measurement group is about."""
    return {
        "tracking_identifier": TrackingIdentifier(
            uid=origin.uid("tracking", identifier), identifier=identifier
        ),
        "finding_type": site.structure,
        "finding_sites": [FindingSite(anatomic_location=site.structure, laterality=site.laterality)],
    }


def _extent(extent: Extent) -> list[Measurement]:
    """Return volumes and percentage; a region without volume has none."""
    measurements = [
        _volume(codes.SCT.Volume, extent.lung_ml),
        _volume(concepts.REGION_OPACITY_VOLUME, extent.opacity_ml),
    ]
    if (percent := extent.opacity_percent) is not None:
        rounded = round(percent, DECIMALS)
        measurements.append(Measurement(concepts.REGION_OPACITY_PERCENT, rounded, concepts.PERCENT))
    return measurements


def _volume(name: Code | CodedConcept, volume_ml: float) -> Measurement:
    return Measurement(
        name=name,
        value=round(volume_ml, DECIMALS),
        unit=concepts.MILLILITRE,
        method=codes.DCM.SumOfSegmentedVoxelMethodForVolume,
    )


def _segments(segmentation: Segmentation, numbers: Sequence[int], analysis: Analysis) -> ReferencedSegment:
    series_uid = valid_uid(analysis.chest.selection.analysed.series_uid)
    series = SourceSeriesForSegmentation(series_uid)
    series.ConceptNameCodeSequence = [CodedConcept.from_code(codes.DCM.SourceSeriesForSegmentation)]
    return ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=numbers,  # type: ignore[arg-type]
        source_series=series,
    )
