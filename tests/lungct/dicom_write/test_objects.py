"""What all DICOM objects share, and what the PDF and the key slices hold."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ImplicitVRLittleEndian
from pydicom.valuerep import PersonName

import lungct
from lungct.dicom_write.capture import choose_key_slices
from lungct.dicom_write.origin import TYPE_2_KEYWORDS
from lungct.dicom_write.write import write_dicom
from lungct.file_names import DICOM_FILES
from lungct.records import Analysis
from lungct.report.pictures import LUNG_RGB, OPACITY_RGB, find_most_affected_slice
from lungct.settings import DicomSettings
from tests.lungct.dicom_write.conftest import Analyse, analysed, without_opacities

CREATED = datetime(2026, 1, 2, 3, 4, 5)
PDF = b"%PDF-1.7 odd length!!"


def objects(analysis: Analysis, folder: Path, created: datetime = CREATED) -> dict[str, Dataset]:
    write_dicom(folder, DicomSettings(), analysis, lambda: PDF, created)
    return {path.stem: dcmread(path) for path in sorted((folder / "dicom").iterdir())}


@pytest.fixture
def edited(analyse: Analyse) -> Callable[..., Analysis]:
    """The chest with other header attributes in every image; None removes one."""

    def make(**attributes: Any) -> Analysis:
        def change(path: Path) -> None:
            dataset = dcmread(path)
            for keyword, value in attributes.items():
                if value is None:
                    dataset.pop(keyword, None)
                else:
                    setattr(dataset, keyword, value)
            dataset.save_as(path)

        return analyse(change)

    return make


def test_every_object_is_written(analyse: Analyse, tmp_path: Path) -> None:
    assert {f"dicom/{name}.dcm" for name in objects(analyse(), tmp_path)} == set(DICOM_FILES)


@pytest.mark.parametrize(
    ("settings", "n_files"),
    [
        ({"segmentations": False, "structured_report": False}, 10),
        ({"structured_report": False}, 13),
        ({"secondary_captures": False}, 5),
    ],
)
def test_settings_choose_the_objects(
    analyse: Analyse, tmp_path: Path, settings: dict[str, bool], n_files: int
) -> None:
    write_dicom(tmp_path, DicomSettings(**settings), analyse(), lambda: PDF, CREATED)
    assert len(list((tmp_path / "dicom").iterdir())) == n_files


@pytest.mark.parametrize(
    ("name", "character_set"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
        ("Щербаков^Юрий", "ISO_IR 144"),
        ("Müller^Jörg", "ISO_IR 100"),
        ("Δοκιμή^Ωμέγα", "ISO_IR 192"),
    ],
)
def test_names_in_any_script_stay_themselves(
    edited: Callable[..., Analysis], tmp_path: Path, name: str, character_set: str | list[str]
) -> None:
    analysis = edited(SpecificCharacterSet=character_set, PatientName=PersonName(name))
    for dataset in objects(analysis, tmp_path).values():
        assert dataset.SpecificCharacterSet == character_set
        assert str(dataset.PatientName) == name


PLACEHOLDER = "x" * 12


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize(
    ("name", "written", "character_set"),
    [
        ("王小明", "gbk", "ISO_IR 100"),
        ("王小明", "gbk", "ISO_IR 192"),
        ("Müller", "utf8", None),
        ("山田太郎", "shift_jis", ["", "ISO 2022 IR 87"]),
        ("ABC", "ascii", "ISO_IR 999"),
    ],
)
def test_bytes_and_character_set_of_the_source_are_kept(
    analyse: Analyse,
    tmp_path: Path,
    name: str,
    written: str,
    character_set: str | list[str] | None,
    implicit: bool,
) -> None:
    stored = name.encode(written).ljust(len(PLACEHOLDER))

    def change(path: Path) -> None:
        dataset = dcmread(path)
        dataset.SpecificCharacterSet = character_set
        dataset.PatientName = dataset.StudyDescription = dataset.PatientComments = PLACEHOLDER
        dataset.OtherPatientIDsSequence = [Dataset()]
        dataset.OtherPatientIDsSequence[0].PatientID = PLACEHOLDER
        if implicit:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.save_as(path, implicit_vr=implicit, little_endian=True)
        path.write_bytes(path.read_bytes().replace(PLACEHOLDER.encode(), stored))

    for name_of_file, dataset in objects(analyse(change), tmp_path).items():
        assert dataset.get("SpecificCharacterSet") == character_set
        assert dataset.get_item("PatientName").value == stored
        content = (tmp_path / "dicom" / f"{name_of_file}.dcm").read_bytes()
        assert content.count(stored) == 4
        assert PLACEHOLDER.encode() not in content


def test_text_of_any_length_is_carried(edited: Callable[..., Analysis], tmp_path: Path) -> None:
    long = "Ü" * 3000
    analysis = edited(SpecificCharacterSet="ISO_IR 100", PatientName=long, StudyDescription=long)
    for dataset in objects(analysis, tmp_path).values():
        assert (str(dataset.PatientName), dataset.StudyDescription) == (long, long)


def test_patient_and_study_are_those_of_the_source(edited: Callable[..., Analysis], tmp_path: Path) -> None:
    source = {
        "PatientName": "Doe^Jane",
        "PatientID": "P-1",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyDate": "20200401",
        "StudyTime": "120000.5",
        "StudyID": "S1",
        "AccessionNumber": "A1",
        "ReferringPhysicianName": "Roe^Richard",
        "StudyDescription": "Chest",
        "PatientAge": "050Y",
        "PatientWeight": "70.5",
    }
    for dataset in objects(edited(**source), tmp_path).values():
        assert {keyword: str(dataset[keyword].value) for keyword in source} == source


def test_what_the_source_lacks_is_present_and_empty(edited: Callable[..., Analysis], tmp_path: Path) -> None:
    for dataset in objects(edited(**dict.fromkeys(TYPE_2_KEYWORDS)), tmp_path).values():
        assert [dataset[keyword].value or None for keyword in TYPE_2_KEYWORDS] == [None] * 9


@pytest.mark.parametrize(
    "attributes",
    [{"PatientSex": "X"}, {"StudyDate": "2020-04-01"}, {"StudyTime": "noon"}, {"StudyID": "1" * 40}],
)
def test_values_against_the_standard_are_passed_on_as_they_are(
    edited: Callable[..., Analysis], tmp_path: Path, attributes: dict[str, str]
) -> None:
    for dataset in objects(edited(**attributes), tmp_path).values():
        assert {keyword: str(dataset[keyword].value) for keyword in attributes} == attributes


def test_missing_frame_of_reference_is_replaced_and_flagged(
    edited: Callable[..., Analysis], tmp_path: Path
) -> None:
    analysis = edited(FrameOfReferenceUID=None)
    written = objects(analysis, tmp_path)
    assert written["anatomy_seg"].FrameOfReferenceUID == written["opacities_seg"].FrameOfReferenceUID
    assert "FRAME_OF_REFERENCE_MISSING" in {flag.code for flag in analysis.findings.flags}


def uids(written: dict[str, Dataset]) -> set[str]:
    """All UIDs of ours."""
    return {
        uid for dataset in written.values() for uid in (dataset.SOPInstanceUID, dataset.SeriesInstanceUID)
    }


def test_same_analysis_gives_the_same_bytes(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        objects(analysis, tmp_path / folder)
    for name in DICOM_FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


TIME_STAMPS = {
    f"{what}{part}" for what in ("InstanceCreation", "Content", "Series") for part in ("Date", "Time")
}


def test_only_time_stamps_tell_two_runs_apart(analyse: Analyse, tmp_path: Path) -> None:
    analysis, now = analyse(), datetime(2027, 6, 7, 8, 9, 10)
    first, second = objects(analysis, tmp_path), objects(analysis, tmp_path, now)
    for one, other in zip(first.values(), second.values(), strict=True):
        assert {a.keyword for a, b in zip(one, other, strict=True) if a != b} <= TIME_STAMPS


def test_series_and_content_have_the_time_of_the_analysis(analyse: Analyse, tmp_path: Path) -> None:
    for dataset in objects(analyse(), tmp_path).values():
        assert (dataset.SeriesDate, dataset.SeriesTime) == ("20260102", "030405")
        assert (dataset.ContentDate, dataset.ContentTime) == ("20260102", "030405")


def test_viewers_are_told_who_made_a_segmentation(analyse: Analyse, tmp_path: Path) -> None:
    assert objects(analyse(), tmp_path)["opacities_seg"].ContentCreatorName == "lungct^AI"


def with_uid(uid: Callable[[int], str]) -> Callable[[Path], None]:
    """Gives every image the UID that a function of its number returns."""

    def change(path: Path) -> None:
        dataset = dcmread(path)
        dataset.SOPInstanceUID = uid(int(dataset.InstanceNumber))
        dataset.save_as(path)

    return change


REFERENCES = ("ReferencedSeriesSequence", "SourceImageSequence", "SourceInstanceSequence")


def assert_refers_to_no_image(written: dict[str, Dataset]) -> None:
    for dataset in written.values():
        assert not [keyword for keyword in REFERENCES if keyword in dataset]
    for name in ("anatomy_seg", "opacities_seg", "airways_vessels_seg"):
        frames = written[name].PerFrameFunctionalGroupsSequence
        assert not [frame for frame in frames if "DerivationImageSequence" in frame]
    evidence = str(written["measurements_sr"].CurrentRequestedProcedureEvidenceSequence)
    assert "CT Image Storage" not in evidence


@pytest.mark.parametrize("enhanced", [False, True], ids=["slices", "multi-frame"])
def test_nothing_refers_to_images_without_identifiers_of_their_own(
    analyse: Analyse, tmp_path: Path, enhanced: bool
) -> None:
    analysis = analyse(enhanced=enhanced)
    selection = analysis.chest.selection
    series = replace(selection.analysed, has_own_identifiers=False)
    selection = replace(selection, verdicts=(replace(selection.verdicts[0], series=series),))
    assert_refers_to_no_image(
        objects(replace(analysis, chest=replace(analysis.chest, selection=selection)), tmp_path)
    )


def test_nothing_refers_to_images_that_share_one_identifier(analyse: Analyse, tmp_path: Path) -> None:
    assert_refers_to_no_image(objects(analyse(with_uid(lambda _: "1.2.3")), tmp_path))


def test_nothing_refers_to_an_identifier_that_is_no_uid(analyse: Analyse, tmp_path: Path) -> None:
    assert_refers_to_no_image(objects(analyse(with_uid(lambda number: f"image-{number}")), tmp_path))


def test_other_weights_version_findings_patient_or_settings_give_other_uids(
    analyse: Analyse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = analyse()
    before = uids(objects(analysis, tmp_path))
    models = tuple(replace(model, sha256="f" * 64) for model in analysis.findings.models)
    weights = replace(analysis, findings=replace(analysis.findings, models=models))
    assert not before & uids(objects(weights, tmp_path))
    assert not before & uids(objects(without_opacities(analysis), tmp_path))
    header = deepcopy(analysis.chest.patient.header)
    header.PatientName = "Corrected^Name"
    chest = replace(analysis.chest, patient=replace(analysis.chest.patient, header=header))
    assert not before & uids(objects(replace(analysis, chest=chest), tmp_path))
    write_dicom(tmp_path, DicomSettings(omit_empty_frames=False), analysis, lambda: PDF, CREATED)
    assert dcmread(tmp_path / "dicom" / "anatomy_seg.dcm").SOPInstanceUID not in before
    monkeypatch.setattr(lungct, "__version__", "99")
    assert not before & uids(objects(analysis, tmp_path))


def test_names_of_files_do_not_matter(analyse: Analyse, tmp_path: Path) -> None:
    def copy(path: Path) -> None:
        shutil.copy(path, path.with_name(f"copy_of_{path.name}"))

    before = uids(objects(analyse(copy), tmp_path))
    for path in sorted((tmp_path / "study").iterdir()):
        path.rename(path.with_name(f"renamed_{path.stem[::-1]}"))
    assert uids(objects(analysed(tmp_path / "study"), tmp_path)) == before


def test_device_is_the_same_in_every_analysis(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    devices = {
        item.UID
        for one in (analysis, without_opacities(analysis))
        for item in objects(one, tmp_path)["measurements_sr"].ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Device Observer UID"
    }
    assert len(devices) == 1


def test_key_slice_of_a_multi_frame_source_refers_to_its_frame(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse(enhanced=True, reversed_files=True)
    reference = objects(analysis, tmp_path)["key_slice_1"].SourceImageSequence[0]
    index = find_most_affected_slice(analysis)
    assert reference.ReferencedFrameNumber == analysis.chest.source.images[index].frame + 1


def test_each_kind_of_object_is_a_series_of_its_own(analyse: Analyse, tmp_path: Path) -> None:
    written = objects(analyse(), tmp_path)
    series = {dataset.SeriesInstanceUID: dataset.SeriesNumber for dataset in written.values()}
    assert len(series) == len(set(series.values())) == 6
    assert len({dataset.SOPInstanceUID for dataset in written.values()}) == len(written)


def test_research_use_is_stated_in_every_object(analyse: Analyse, tmp_path: Path) -> None:
    for dataset in objects(analyse(), tmp_path).values():
        assert "research use only" in dataset.SeriesDescription


def test_pdf_comes_back_whole(analyse: Analyse, tmp_path: Path) -> None:
    document = objects(analyse(), tmp_path)["report_pdf"]
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == PDF
    assert document.Modality == "DOC"
    assert document.ConceptNameCodeSequence[0].CodeMeaning == "CT Chest Report"
    assert len(document.SourceInstanceSequence) == 24


def test_first_key_slice_is_the_most_affected_one(analyse: Analyse, tmp_path: Path) -> None:
    analysis = analyse()
    capture = objects(analysis, tmp_path)["key_slice_1"]
    index = find_most_affected_slice(analysis)
    source = analysis.chest.source.images[index]
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.sop_instance_uid
    pixels = {tuple(pixel) for pixel in capture.pixel_array.reshape(-1, 3).tolist()}
    assert {LUNG_RGB, OPACITY_RGB} <= pixels


def test_key_slices_spread_from_head_to_feet_over_the_opacities(analyse: Analyse) -> None:
    analysis = analyse()
    slices = choose_key_slices(analysis)
    affected = np.flatnonzero(analysis.opacities.mask.any(axis=(1, 2)))
    assert slices == sorted(slices, reverse=True)
    assert (slices[0], slices[-1], len(slices)) == (affected[-1], affected[0], 8)


def test_key_slices_of_healthy_lungs_show_the_lungs(analyse: Analyse) -> None:
    analysis = without_opacities(analyse())
    assert analysis.anatomy.lobes[choose_key_slices(analysis)].any(axis=(1, 2)).all()
