"""Masks come back from the DICOM objects voxel for voxel, in the place of the patient where they were."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from lungct.dicom_write.write import write_dicom
from lungct.records import Analysis, BronchovascularTree, Lobe, MaskArray
from lungct.records.orientation import from_canonical
from lungct.report.pictures import LOBE_RGB
from lungct.settings import DicomSettings
from lungct_research.synthesis.phantom.dicom_faults import Fault
from lungct_research.synthesis.phantom.study_options import Orientation
from tests.lungct.dicom_write.conftest import Analyse, empty_lobe

LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
CREATED = datetime(2026, 1, 2, 3, 4, 5)

AS_STORED: dict[str, dict[str, Any]] = {
    "head first": {},
    "feet first": {"orientation": Orientation.FEET_FIRST_SUPINE},
    "prone": {"orientation": Orientation.PRONE},
    "oblique": {"orientation": Orientation.OBLIQUE},
    "reversed": {"reversed_files": True},
    "enhanced": {"enhanced": True},
    "enhanced, reversed": {"enhanced": True, "reversed_files": True},
    "a slice twice": {"faults": (Fault.DUPLICATE_SLICE,)},
}
SPLIT = {"in two files": 12, "a file a frame": 1}
"""Frames a file of a multi-frame series."""
RESAMPLED: dict[str, dict[str, Any]] = {
    "tilted gantry": {"orientation": Orientation.GANTRY_TILT},
    "a slice missing": {"faults": (Fault.MISSING_SLICE,)},
    "uneven spacing": {"faults": (Fault.UNEVEN_SPACING,)},
}


def read(analysis: Analysis, folder: Path, name: str, **settings: Any) -> hd.seg.Segmentation:
    write_dicom(folder, DicomSettings(**settings), analysis, None, CREATED)
    return hd.seg.segread(folder / "dicom" / f"{name}_seg.dcm")


def assert_holds(segmentation: hd.seg.Segmentation, mask: MaskArray, analysis: Analysis) -> None:
    """On the grid of the source, wherever the frames of the object lie on it."""
    source = analysis.chest.source
    grid = hd.Volume(
        np.ascontiguousarray(from_canonical(mask, source)),
        source.affine_lps,
        coordinate_system="PATIENT",
        frame_of_reference_uid=segmentation.FrameOfReferenceUID,
    )
    stored = segmentation.get_volume(combine_segments=True, skip_overlap_checks=True)
    assert np.array_equal(stored.match_geometry(grid, tol=1e-3).array, grid.array)


@pytest.mark.parametrize("options", (AS_STORED | RESAMPLED).values(), ids=(AS_STORED | RESAMPLED).keys())
def test_lobes_and_opacities_come_back(analyse: Analyse, tmp_path: Path, options: dict[str, Any]) -> None:
    analysis = analyse(**options)
    assert_holds(read(analysis, tmp_path, "anatomy"), analysis.anatomy.lobes, analysis)
    assert_holds(read(analysis, tmp_path, "opacities"), analysis.opacities.mask, analysis)
    tree = analysis.tree.airways + 2 * analysis.tree.vessels
    assert_holds(read(analysis, tmp_path, "airways_vessels"), tree, analysis)


@pytest.mark.parametrize("frames_per_file", SPLIT.values(), ids=SPLIT.keys())
def test_lobes_of_several_multi_frame_files_come_back(
    analyse: Analyse, tmp_path: Path, frames_per_file: int
) -> None:
    analysis = analyse(lambda path: split(path, frames_per_file), enhanced=True)
    assert_holds(read(analysis, tmp_path, "anatomy"), analysis.anatomy.lobes, analysis)


def split(path: Path, frames_per_file: int) -> None:
    """Replace a multi-frame file by several, in an order that is not that of the slices."""
    whole = dcmread(path)
    groups, size = list(whole.PerFrameFunctionalGroupsSequence), whole.Rows * whole.Columns * 2
    for number, begin in enumerate(range(0, len(groups), frames_per_file)):
        part = deepcopy(whole)
        part.PerFrameFunctionalGroupsSequence = groups[begin : begin + frames_per_file]
        part.NumberOfFrames = frames_per_file
        part.PixelData = whole.PixelData[begin * size : (begin + frames_per_file) * size]
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{(number * 7) % 25 + 1}"
        part.save_as(path.with_name(f"part{number}.dcm"))
    path.unlink()


def test_copies_of_files_are_referred_to_once(analyse: Analyse, tmp_path: Path) -> None:
    def copy(path: Path) -> None:
        shutil.copy(path, path.with_name(f"copy_of_{path.name}"))

    for options in ({"enhanced": True}, {"faults": (Fault.MISSING_SLICE,)}):
        shutil.rmtree(tmp_path / "study", ignore_errors=True)
        segmentation = read(analyse(copy, **options), tmp_path, "anatomy")
        listed = [image.ReferencedSOPInstanceUID for image in segmentation.SourceImageSequence]
        assert len(listed) == len(set(listed)) == (1 if "enhanced" in options else 23)
        numbers = [
            source.get("ReferencedFrameNumber", 1)
            for frame in segmentation.PerFrameFunctionalGroupsSequence
            for derivation in frame.get("DerivationImageSequence", [])
            for source in derivation.SourceImageSequence
        ]
        assert max(numbers, default=0) <= 24


def test_rounded_directions_of_a_tilted_stack_do_not_matter(analyse: Analyse, tmp_path: Path) -> None:
    def roll(path: Path) -> None:
        image = dcmread(path)
        image.ImageOrientationPatient = [0.996, 0.087, 0, -0.084, 0.962, -0.259]
        image.save_as(path)

    analysis = analyse(roll, orientation=Orientation.GANTRY_TILT)
    segmentation = read(analysis, tmp_path, "anatomy")
    volume = segmentation.get_volume(combine_segments=True, skip_overlap_checks=True)
    assert np.count_nonzero(volume.array) == np.count_nonzero(analysis.anatomy.lobes)


@pytest.mark.parametrize("options", AS_STORED.values(), ids=AS_STORED.keys())
def test_every_frame_lies_where_its_source_image_lies(
    analyse: Analyse, tmp_path: Path, options: dict[str, Any]
) -> None:
    segmentation = read(analyse(**options), tmp_path, "anatomy")
    images = {
        str(dataset.SOPInstanceUID): dataset for dataset in map(dcmread, (tmp_path / "study").iterdir())
    }
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        image = images[source.ReferencedSOPInstanceUID]
        if "ReferencedFrameNumber" in source:
            groups = image.PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1]
            image = groups.PlanePositionSequence[0]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(
            image.ImagePositionPatient
        )


@pytest.mark.parametrize("options", [{}, {"orientation": Orientation.OBLIQUE}], ids=["axial", "oblique"])
def test_masks_lie_on_the_lungs_that_simpleitk_reads(
    analyse: Analyse, tmp_path: Path, options: dict[str, Any]
) -> None:
    segmentation = read(analyse(**options), tmp_path, "anatomy", omit_empty_frames=False)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "study"))
    image = SimpleITK.ReadImage(names)
    labels = segmentation.get_volume(combine_segments=True, skip_overlap_checks=True)
    lungs = SimpleITK.GetArrayFromImage(image) == -850
    in_patient = [image.TransformIndexToPhysicalPoint(index[::-1]) for index in np.argwhere(lungs).tolist()]
    in_object = np.rint(labels.map_reference_to_indices(np.array(in_patient))).astype(int)
    assert labels.array[tuple(in_object.T)].all()
    assert np.count_nonzero(labels.array) == len(in_object)


@pytest.mark.parametrize(
    ("settings", "transfer_syntax"),
    [
        ({"compression": "deflate"}, DeflatedExplicitVRLittleEndian),
        ({"segmentation_type": "labelmap", "compression": "rle"}, RLELossless),
        ({"segmentation_type": "labelmap", "compression": "jpeg_ls"}, JPEGLSLossless),
        ({"segmentation_type": "labelmap", "compression": "deflate"}, DeflatedExplicitVRLittleEndian),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_other_encodings_hold_the_same(
    analyse: Analyse, tmp_path: Path, settings: dict[str, Any], transfer_syntax: str
) -> None:
    analysis = analyse()
    segmentation = read(analysis, tmp_path, "anatomy", **settings)
    assert_holds(segmentation, analysis.anatomy.lobes, analysis)
    assert segmentation.file_meta.TransferSyntaxUID == transfer_syntax
    is_labelmap = segmentation.SOPClassUID == LABELMAP_STORAGE
    assert is_labelmap == (settings.get("segmentation_type") == "labelmap")


@pytest.mark.parametrize(("omit", "n_frames"), [(True, 2 * 20), (False, 5 * 24)])
def test_empty_frames_are_left_out_on_request(
    analyse: Analyse, tmp_path: Path, omit: bool, n_frames: int
) -> None:
    segmentation = read(analyse(), tmp_path, "anatomy", omit_empty_frames=omit)
    assert segmentation.NumberOfFrames == n_frames


def test_segments_say_what_where_and_by_whom(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    segments = read(analysis, tmp_path, "anatomy").SegmentSequence
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in segments]
    sides = [kind.get("SegmentedPropertyTypeModifierCodeSequence", [None])[0] for kind in kinds]
    assert [kind.CodeMeaning for kind in kinds] == [
        "Upper lobe of lung",
        "Lower lobe of lung",
        "Upper lobe of lung",
        "Middle lobe of right lung",
        "Lower lobe of lung",
    ]
    assert [side and side.CodeMeaning for side in sides] == ["Left", "Left", "Right", None, "Right"]
    for lobe, segment in zip(Lobe, segments, strict=True):
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert segment.TrackingID == lobe.value
        assert algorithm.AlgorithmVersion == analysis.anatomy.model.version
        assert analysis.anatomy.model.sha256 in algorithm.AlgorithmParameters
        colour = hd.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue)
        assert colour.to_rgb(clip=True) == pytest.approx(LOBE_RGB[lobe], abs=2)


def test_missing_lobe_leaves_no_empty_segment_and_no_gap(analyse: Analyse, tmp_path: Path) -> None:
    analysis = empty_lobe(analyse(), Lobe.LEFT_LOWER)
    segments = read(analysis, tmp_path, "anatomy").SegmentSequence
    assert [segment.SegmentNumber for segment in segments] == [1, 2, 3, 4]
    assert [segment.TrackingID for segment in segments] == [
        lobe.value for lobe in Lobe if lobe is not Lobe.LEFT_LOWER
    ]


def test_without_airways_and_vessels_there_is_no_object_of_them(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    nothing = np.zeros_like(analysis.tree.airways)
    write_dicom(tmp_path, DicomSettings(), without(analysis, nothing, nothing), None, CREATED)
    assert not (tmp_path / "dicom" / "airways_vessels_seg.dcm").exists()


def test_vessels_alone_are_segment_one(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    nothing = np.zeros_like(analysis.tree.airways)
    segmentation = read(without(analysis, nothing, analysis.tree.vessels), tmp_path, "airways_vessels")
    assert [segment.TrackingID for segment in segmentation.SegmentSequence] == ["pulmonary_vessels"]


def without(analysis: Analysis, airways: MaskArray, vessels: MaskArray) -> Analysis:
    return replace(analysis, tree=BronchovascularTree(airways, vessels))
