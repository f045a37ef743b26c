"""The structured report, read back by highdicom's strict parser, says what was found and where."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes

from lungct.dicom_write import codes as concepts
from lungct.dicom_write.write import write_dicom
from lungct.records import Analysis, Extent, Lobe
from lungct.settings import DicomSettings
from lungct_research.synthesis.phantom.dicom_faults import Fault
from lungct_research.synthesis.phantom.study_options import Orientation
from tests.lungct.dicom_write.conftest import Analyse, empty_lobe, without_opacities

CREATED = datetime(2026, 1, 2, 3, 4, 5)
LUNGS = ("left_lung", "right_lung", "both_lungs")

Group = hd.sr.MeasurementsAndQualitativeEvaluations


class Report:
    """A report beside the segmentations that it refers to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.document = hd.sr.srread(folder / "measurements_sr.dcm")
        content = self.document.content
        groups = [
            *content.get_volumetric_roi_measurement_groups(),
            *content.get_image_measurement_groups(),
        ]
        self.groups: dict[str, Group] = {group.tracking_identifier: group for group in groups}

    def value(self, group: str, name: hd.sr.CodedConcept) -> float | None:
        found = self.groups[group].get_measurements(name)
        return float(found[0].value) if found else None

    def reference(self, group: str) -> tuple[str, list[int]]:
        """SOP Instance UID and segment numbers."""
        (item,) = find_content_items(self.groups[group][0], name=codes.DCM.ReferencedSegment)
        reference = item.ReferencedSOPSequence[0]
        return reference.ReferencedSOPInstanceUID, list(np.atleast_1d(reference.ReferencedSegmentNumber))

    def texts(self, name: hd.sr.CodedConcept) -> list[str]:
        return [item.TextValue for item in find_content_items(self.document, name=name, recursive=True)]

    def code(self, name: hd.sr.CodedConcept) -> str:
        (item,) = find_content_items(self.document, name=name, recursive=True)
        return item.ConceptCodeSequence[0].CodeMeaning

    def segmented_ml(self, group: str) -> float:
        """The volume of the segments that a group refers to, from the segmentation alone."""
        uid, numbers = self.reference(group)
        for name in ("anatomy", "opacities"):
            segmentation = hd.seg.segread(self.folder / f"{name}_seg.dcm")
            if segmentation.SOPInstanceUID == uid:
                volume = segmentation.get_volume(combine_segments=True, skip_overlap_checks=True)
                return float(np.isin(volume.array, numbers).sum() * volume.voxel_volume / 1000)
        raise AssertionError(f"{group} refers to {uid}, which was not written")


def report(analysis: Analysis, folder: Path) -> Report:
    write_dicom(folder, DicomSettings(secondary_captures=False), analysis, None, CREATED)
    return Report(folder / "dicom")


def extents(analysis: Analysis) -> dict[str, Extent]:
    quantification = analysis.findings.quantification
    lungs = (quantification.left_lung, quantification.right_lung, quantification.total)
    return {lobe.value: quantification.lobes[lobe] for lobe in Lobe} | dict(zip(LUNGS, lungs, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"orientation": Orientation.FEET_FIRST_SUPINE},
        {"orientation": Orientation.OBLIQUE},
        {"orientation": Orientation.GANTRY_TILT},
        {"reversed_files": True},
        {"enhanced": True},
        {"faults": (Fault.MISSING_SLICE,)},
    ],
    ids=str,
)
def test_volumes_of_report_segments_and_result_are_the_same(
    analyse: Analyse, tmp_path: Path, options: dict[str, object]
) -> None:
    analysis = analyse(**options)
    written = report(analysis, tmp_path)
    for region, extent in extents(analysis).items():
        assert written.value(region, codes.SCT.Volume) == pytest.approx(extent.lung_ml, abs=1e-3)
        assert written.segmented_ml(region) == pytest.approx(extent.lung_ml, abs=1e-2)
        opacity_ml = written.value(region, concepts.REGION_OPACITY_VOLUME)
        assert opacity_ml == pytest.approx(extent.opacity_ml, abs=1e-3)
        percent = written.value(region, concepts.REGION_OPACITY_PERCENT)
        assert percent == pytest.approx(extent.opacity_percent, abs=1e-3)
    opacity_ml = analysis.findings.quantification.total.opacity_ml
    assert written.value("infectious_opacities", codes.SCT.Volume) == pytest.approx(opacity_ml, abs=1e-3)
    assert written.segmented_ml("infectious_opacities") == pytest.approx(opacity_ml, abs=1e-2)


def test_every_region_refers_to_its_segments_and_the_source_series(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    written = report(analysis, tmp_path)
    segments = {region: written.reference(region)[1] for region in (*Lobe, *LUNGS)}
    assert [segments[lobe] for lobe in Lobe] == [[1], [2], [3], [4], [5]]
    assert [segments[lung] for lung in LUNGS] == [[1, 2], [3, 4, 5], [1, 2, 3, 4, 5]]
    assert analysis.chest.selection.chosen
    for group in written.groups.values():
        (series,) = find_content_items(group[0], name=codes.DCM.SourceSeriesForSegmentation)
        assert analysis.chest.selection.chosen.series_uid == series.UID


def test_scores_and_probabilities(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    written = report(analysis, tmp_path)
    scores = [written.value(lobe, concepts.LOBE_SCORE) for lobe in Lobe]
    assert scores == [analysis.findings.quantification.lobe_scores[lobe] for lobe in Lobe]
    assert written.value("both_lungs", concepts.SEVERITY_SCORE) == sum(scores)
    probabilities = [written.value("both_lungs", name) for name in concepts.PROBABILITY.values()]
    assert probabilities == [0.78, 0.17, 0.05]
    assert written.code(concepts.DECISION) == "Potential COVID-19"
    assert written.code(concepts.INVOLVEMENT).lower() == analysis.findings.quantification.involvement


def test_flags_notice_and_models_are_told(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    written = report(analysis, tmp_path)
    flags = written.texts(concepts.QUALITY_FLAG)
    assert [flag.split(":")[0] for flag in flags] == [flag.code for flag in analysis.findings.flags]
    assert "Research use only" in written.texts(concepts.NOTICE)[0]
    parameters = "".join(written.texts(codes.DCM.AlgorithmParameters))
    for model in analysis.findings.models:
        assert (
            f"model {model.name} {model.version} (provisional), weights SHA-256 {model.sha256}" in parameters
        )


def test_healthy_lungs_have_neither_opacities_segmentation_nor_opacity_group(
    analyse: Analyse, tmp_path: Path
) -> None:
    written = report(without_opacities(analyse()), tmp_path)
    assert not (tmp_path / "dicom" / "opacities_seg.dcm").exists()
    assert "infectious_opacities" not in written.groups
    assert written.value("both_lungs", concepts.REGION_OPACITY_VOLUME) == 0


def test_missing_lobe_has_a_flag_and_no_group(analyse: Analyse, tmp_path: Path) -> None:
    written = report(empty_lobe(analyse(), Lobe.RIGHT_MIDDLE), tmp_path)
    assert set(written.groups) == {*Lobe, *LUNGS, "infectious_opacities"} - {Lobe.RIGHT_MIDDLE.value}
    assert written.reference("right_lung")[1] == [3, 4]
    assert any("right middle lobe" in flag for flag in written.texts(concepts.QUALITY_FLAG))


def test_evidence_lists_the_source_and_the_segmentations(analyse: Analyse, tmp_path: Path) -> None:
    written = report(analyse(), tmp_path)
    (study,) = written.document.CurrentRequestedProcedureEvidenceSequence
    listed = {
        item.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert len(listed) == 24 + 2
    assert {written.reference(region)[0] for region in written.groups} <= listed
