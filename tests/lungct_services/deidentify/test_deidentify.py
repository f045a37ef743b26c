"""Pseudonymised copies: nothing identifies the patient, everything still belongs together."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom import Dataset, dcmread
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from lungct_services.deidentify.command import deidentify
from lungct_services.deidentify.copying import REPORT_FILE
from lungct_services.deidentify.profile import shift_date
from tests.dicom_tools import complaints, errors
from tests.lungct_services.gateway.site import write_chest
from tests.lungct_services.gateway.without_networks import analyse

PLANTED = {
    "patient_name": "Quaxolotl^Zenobia",
    "patient_id": "ID-77310955",
    "patient_birth_date": "19530714",
    "institution": "Wolkenheim Hospital",
    "study_description": "Follow-up of Zenobia",
    "accession_number": "ACC-5550123",
}
STUDY_DATES = ("20200401", "20200415")
WORDS = ("Quaxolotl", "Zenobia", "77310955", "19530714", "Wolkenheim", "5550123", *STUDY_DATES)
N_SLICES = 3


def plant(path: Path) -> None:
    """Identifiers where nobody looks for them: private, unknown and nested elements, the file header."""
    dataset = dcmread(path)
    dataset.private_block(0x0009, "WOLKENHEIM", create=True).add_new(0x01, "LO", "Zenobia Quaxolotl")
    dataset.add_new(0x00080FFE, "LO", "Zenobia")
    dataset.OperatorsName, dataset.StationName, dataset.ProtocolName = "Zenobia", "Wolkenheim-1", "Zenobia"
    dataset.ImageComments, dataset.DeviceSerialNumber = "ID-77310955", "77310955"
    request = Dataset()
    request.AccessionNumber, request.RequestedProcedureDescription = "ACC-5550123", "Zenobia"
    dataset.RequestAttributesSequence = [request]
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    source.PatientName = "Zenobia"
    dataset.ReferencedImageSequence = [source]
    dataset.file_meta.SourceApplicationEntityTitle = "WOLKENHEIM"
    dataset.preamble = b"Quaxolotl".ljust(128)
    dataset.save_as(path)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Two studies of one patient, two weeks apart."""
    folder = tmp_path / "studies"
    for seed, study_date in enumerate(STUDY_DATES):
        place = folder / f"Zenobia-{seed}"
        for path in write_chest(place, seed, N_SLICES, study_date=study_date, **PLANTED):
            plant(path)
    return folder


def invoke(studies: Path, folder: Path, **replaced: Path) -> Result:
    places = {"key": folder / "key", "mapping": folder / "mapping.csv"} | replaced
    options = ["--key", str(places["key"]), "--mapping", str(places["mapping"])]
    return CliRunner().invoke(deidentify, [str(studies), str(folder / "out"), *options])


def run(studies: Path, folder: Path, expected: int = 0) -> list[Dataset]:
    assert invoke(studies, folder).exit_code == expected
    return [dcmread(path) for path in sorted((folder / "out").rglob("*.dcm"))]


def test_no_planted_identifier_is_left_in_any_byte(studies: Path, tmp_path: Path) -> None:
    uids = {dcmread(path).SOPInstanceUID for path in studies.rglob("*.dcm")}
    assert len(run(studies, tmp_path)) == 2 * N_SLICES
    for path in (tmp_path / "out").rglob("*"):
        content = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        found = [word for word in (*WORDS, *uids) if re.search(word.encode(), content, re.IGNORECASE)]
        assert found == []


def test_copies_are_valid_dicom(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path)
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert errors(complaints("dciodvfy", path)) == []


def test_two_studies_of_a_patient_stay_together_and_as_far_apart(studies: Path, tmp_path: Path) -> None:
    copies = run(studies, tmp_path)
    assert len({copy.PatientID for copy in copies}) == 1
    assert len({copy.StudyInstanceUID for copy in copies}) == 2
    days = sorted({datetime.strptime(copy.StudyDate, "%Y%m%d") for copy in copies})
    assert days[1] - days[0] == timedelta(days=14)
    assert all(copy.AcquisitionDate == copy.StudyDate for copy in copies)


def test_references_lead_to_the_copies(studies: Path, tmp_path: Path) -> None:
    copies = run(studies, tmp_path)
    assert all(
        copy.ReferencedImageSequence[0].ReferencedSOPInstanceUID == copy.SOPInstanceUID for copy in copies
    )
    assert all(copy.file_meta.MediaStorageSOPInstanceUID == copy.SOPInstanceUID for copy in copies)


def test_the_same_key_gives_the_same_copies_and_another_key_others(studies: Path, tmp_path: Path) -> None:
    first = {copy.SOPInstanceUID: copy.PatientID for copy in run(studies, tmp_path)}
    for name, is_same in (("again", True), ("elsewhere", False)):
        folder = tmp_path / name
        folder.mkdir()
        if is_same:
            (folder / "key").write_text((tmp_path / "key").read_text())
        found = {copy.SOPInstanceUID: copy.PatientID for copy in run(studies, folder)}
        assert (found == first) is is_same
        assert found.keys().isdisjoint(first) is not is_same


def test_the_site_alone_can_go_back(studies: Path, tmp_path: Path) -> None:
    copies = run(studies, tmp_path)
    with (tmp_path / "mapping.csv").open() as file:
        back = {(row["kind"], row["new"]): row["original"] for row in csv.DictReader(file)}
    originals = {str(dcmread(path).SOPInstanceUID) for path in studies.rglob("*.dcm")}
    assert {back["uid", copy.SOPInstanceUID] for copy in copies} == originals
    assert back["patient", copies[0].PatientID] == PLANTED["patient_id"]
    assert (tmp_path / "mapping.csv").stat().st_mode & 0o077 == 0
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_results_stay_with_their_images(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    write_chest(studies / "images", seed=3, **PLANTED)
    analyse(studies / "images", studies / "results")
    (studies / "results" / "result.json").unlink()
    copies = run(studies, tmp_path)
    images = {copy.SOPInstanceUID for copy in copies if copy.Modality == "CT"}
    segmentations = [copy for copy in copies if copy.Modality == "SEG"]
    assert len(segmentations) == 2
    for copy in segmentations:
        items = copy.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert {item.ReferencedSOPInstanceUID for item in items} == images
        assert errors(complaints("dciodvfy", Path(copy.filename))) == []
    assert len({(copy.StudyInstanceUID, copy.FrameOfReferenceUID, copy.PatientID) for copy in copies}) == 1


def test_what_may_show_a_name_is_refused(studies: Path, tmp_path: Path) -> None:
    paths = sorted(studies.rglob("*.dcm"))
    burned_in, capture, document = (dcmread(path) for path in paths[:3])
    burned_in.BurnedInAnnotation = "YES"
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    document.SOPClassUID = document.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    for path, dataset in zip(paths, (burned_in, capture, document), strict=False):
        dataset.save_as(path)
    assert len(run(studies, tmp_path, expected=1)) == 2 * N_SLICES - 3
    report = json.loads((tmp_path / "out" / REPORT_FILE).read_text())
    assert report["left_out"] == {
        "BURNED_IN_ANNOTATION": 1,
        "BURNED_IN_ANNOTATION_UNKNOWN": 1,
        "KIND_NOT_ACCEPTED": 1,
    }


def test_an_identifier_in_an_attribute_that_is_kept_stops_the_copy(studies: Path, tmp_path: Path) -> None:
    path = next(studies.rglob("*.dcm"))
    dataset = dcmread(path)
    dataset.ConvolutionKernel = "ZENOBIA"
    dataset.save_as(path)
    assert len(run(studies, tmp_path, expected=1)) == 2 * N_SLICES - 1


def test_the_report_says_what_was_changed(studies: Path, tmp_path: Path) -> None:
    run(studies, tmp_path)
    report = json.loads((tmp_path / "out" / REPORT_FILE).read_text())
    attributes = report["attributes"]
    assert attributes["PatientID"] == attributes["StudyDate"] == {"replaced": 2 * N_SLICES}
    assert attributes["ImageComments"] == {"removed": 2 * N_SLICES}
    assert attributes["SliceThickness"] == attributes["PatientAge"] == {"kept": 2 * N_SLICES}
    assert (report["n_patients"], report["n_copied"], report["left_out"]) == (1, 2 * N_SLICES, {})


def test_great_ages_are_not_told(studies: Path, tmp_path: Path) -> None:
    for path in studies.rglob("*.dcm"):
        dataset = dcmread(path)
        dataset.PatientAge = "093Y"
        dataset.save_as(path)
    assert {copy.PatientAge for copy in run(studies, tmp_path)} == {"090Y"}


@pytest.mark.parametrize(
    ("value", "shifted"),
    [
        ("20200301", "20200229"),
        ("20200301123000.5+0100", "20200229123000.5+0100"),
        ("2020", ""),
        ("yesterday", ""),
    ],
)
def test_dates_are_shifted_by_whole_days(value: str, shifted: str) -> None:
    assert shift_date(value, timedelta(days=-1)) == shifted


def test_key_and_mapping_may_not_lie_among_the_copies(studies: Path, tmp_path: Path) -> None:
    for name in ("key", "mapping"):
        refused = invoke(studies, tmp_path, **{name: tmp_path / "out" / name})
        assert (refused.exit_code, "among the copies" in refused.stderr) == (2, True)


def test_a_killed_run_leaves_no_copy_without_its_line_in_the_mapping(studies: Path, tmp_path: Path) -> None:
    options = [str(studies), str(tmp_path / "out"), "--key", str(tmp_path / "key")]
    program = "from lungct.command import main; main()"
    command = [
        sys.executable,
        "-c",
        program,
        "deidentify",
        *options,
        "--mapping",
        str(tmp_path / "mapping.csv"),
    ]
    process = subprocess.Popen(command)  # noqa: S603
    while not (copies := list((tmp_path / "out").rglob("*.dcm"))) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait()
    with (tmp_path / "mapping.csv").open() as file:
        known = {row["new"] for row in csv.DictReader(file)}
    assert copies
    assert {path.stem for path in (tmp_path / "out").rglob("*.dcm")} <= known


def test_no_cell_of_the_mapping_is_a_formula_and_later_runs_understand_it(tmp_path: Path) -> None:
    patient_id = "=cmd|' /C calc'!A0"
    write_chest(tmp_path / "studies", 1, 2, patient_name="X", patient_id=patient_id)
    (first, _) = run(tmp_path / "studies", tmp_path)
    rows = list(csv.reader((tmp_path / "mapping.csv").read_text().splitlines()))
    assert [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@")] == []
    assert ["patient", f"'{patient_id}", first.PatientID] in rows
    shutil.rmtree(tmp_path / "out")
    run(tmp_path / "studies", tmp_path)
    again = list(csv.reader((tmp_path / "mapping.csv").read_text().splitlines()))
    assert sorted(again) == sorted(rows)
