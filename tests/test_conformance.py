"""Every DICOM object before validators of other people: no error or warning that is not explained.

The warnings and their reasons are in docs/reference/dicom.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.valuerep import PersonName

from lungct.dicom_write.origin import TYPE_2_KEYWORDS
from lungct.dicom_write.write import write_dicom
from lungct.records import Lobe
from lungct.report.content import write_content
from lungct.report.illustrations import illustrate
from lungct.report.pdf import render_pdf
from lungct.report.wording import Wording
from lungct.settings import DicomSettings
from lungct_research.synthesis.phantom.study_options import Orientation
from tests.application_runs import REAL_STUDIES, PhantomRun, Run, made_once
from tests.dicom_tools import complaints, errors, warnings
from tests.lungct.dicom_write.conftest import analysed, empty_lobe, small_study, without_opacities

EXPLAINED = (
    r"Unrecognized defined term.*<99LUNGCT>",
    r"Different information entities for attribute - Element=<AccessionNumber>",
    rf"Attribute present in one instance but not the other - Element=<({'|'.join(TYPE_2_KEYWORDS)})>",
    r"Missing attribute or value that would be needed to build DICOMDIR",
    r"The VR checker does not support this Specific Character Set",
    r"Reading unknown/unsupported SpecificCharacterSet",
    r"Duplicate SOPInstanceUID - (1\.2\.3)? .* file <\S+/study/",
)
"""Patterns of the warnings that docs/reference/dicom.md lists."""


def _name(name: str, character_set: str | list[str]) -> Callable[[Path], None]:
    return _attributes(SpecificCharacterSet=character_set, PatientName=PersonName(name))


def _attributes(**attributes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        dataset = dcmread(path)
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)

    return change


def _without(*keywords: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        dataset = dcmread(path)
        for keyword in keywords:
            dataset.pop(keyword, None)
        dataset.save_as(path)

    return change


def _empty_identifiers(path: Path) -> None:
    """As in COVID-CT-MD (Afshar et al. 2021): UIDs of studies with letters, none of images, no dates."""
    dataset = dcmread(path)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (str(UUID(int=number)) for number in (1, 2))
    for keyword in ("SOPInstanceUID", "StudyDate", "SeriesDescription", "StudyDescription", "PatientName"):
        setattr(dataset, keyword, "")
    for keyword in ("FrameOfReferenceUID", "PatientBirthDate", "AccessionNumber", "StudyTime"):
        dataset.pop(keyword, None)
    dataset.file_meta.pop("MediaStorageSOPInstanceUID", None)
    dcmwrite(path, dataset, enforce_file_format=False)


CHANGES = {
    "japanese name": _name("Yamada^Tarou=山田^太郎=やまだ^たろう", ["", "ISO 2022 IR 87"]),
    "cyrillic name": _name("Щербаков^Юрий", "ISO_IR 144"),
    "accented name": _name("Müller^Jörg", "ISO_IR 100"),
    "one identifier for all images": _attributes(SOPInstanceUID="1.2.3"),
    "identifiers emptied": _empty_identifiers,
    "no study ID": _without("StudyID"),
    "dates anonymised away": _attributes(
        StudyDate="", SeriesDate="", AcquisitionDate="", ContentDate="", PatientBirthDate="", StudyTime=""
    ),
}
OPTIONS = {
    "enhanced": {"enhanced": True},
    "feet first": {"orientation": Orientation.FEET_FIRST_SUPINE},
    "oblique": {"orientation": Orientation.OBLIQUE},
    "tilted gantry": {"orientation": Orientation.GANTRY_TILT},
}
FINDINGS = {
    "missing lobe": lambda analysis: empty_lobe(analysis, Lobe.RIGHT_MIDDLE),
    "no opacities": without_opacities,
}
SMALL_STUDIES = (*CHANGES, *OPTIONS, *FINDINGS)


def made_small(name: str, folder: Path) -> tuple[Path, Path]:
    small_study(folder / "study", CHANGES.get(name), **OPTIONS.get(name, {}))
    analysis = FINDINGS.get(name, lambda same: same)(analysed(folder / "study"))
    created = datetime(2026, 1, 2, 3, 4, 5)
    pdf = render_pdf(write_content(analysis, Wording("en")), illustrate(analysis), created)
    write_dicom(folder, DicomSettings(), analysis, lambda: pdf, created)
    return folder / "study", folder / "dicom"


@pytest.fixture(scope="session")
def folders(common_folder: Path, request: pytest.FixtureRequest) -> Callable[[str], tuple[Path, Path]]:
    """By name of a study: its folder, and the folder of the DICOM objects made from it."""

    def make(name: str) -> tuple[Path, Path]:
        if name == "phantom":
            phantom: PhantomRun = request.getfixturevalue("phantom_run")
            return phantom.run.out.parent / "study" / "a" / "b", phantom.run.out / "dicom"
        if name in REAL_STUDIES:
            real: Callable[[str], Run] = request.getfixturevalue("real_run")
            source: Path = request.getfixturevalue("real_ct")
            return source / "dicom" / name, real(name).out / "dicom"
        return made_once(common_folder / name.replace(" ", "_"), partial(made_small, name))

    return make


STUDIES = ("phantom", *REAL_STUDIES, *SMALL_STUDIES)
Folders = Callable[[str], tuple[Path, Path]]


def assert_conformant(lines: list[str]) -> None:
    found = errors(lines) + warnings(lines)
    assert [line for line in found if not any(re.search(why, line) for why in EXPLAINED)] == []


@pytest.mark.parametrize("study", STUDIES)
def test_every_object_is_valid_for_dciodvfy(folders: Folders, study: str) -> None:
    for path in sorted(folders(study)[1].iterdir()):
        assert_conformant(complaints("dciodvfy", "-new", path))


@pytest.mark.parametrize("study", STUDIES)
def test_objects_agree_among_themselves_and_with_the_source(folders: Folders, study: str) -> None:
    source, results = folders(study)
    assert_conformant(complaints("dcentvfy", *sorted(results.iterdir()), *sorted(source.iterdir())))


@pytest.mark.parametrize("study", STUDIES)
def test_every_object_is_read_by_dcmtk(folders: Folders, study: str) -> None:
    for path in sorted(folders(study)[1].iterdir()):
        assert_conformant(complaints("dcmdump", path))
    assert_conformant(complaints("dsrdump", folders(study)[1] / "measurements_sr.dcm"))


@pytest.mark.parametrize("study", ["phantom", *REAL_STUDIES[:1], "enhanced", *FINDINGS])
def test_report_follows_its_template(folders: Folders, study: str) -> None:
    lines = complaints("DicomSRValidator", folders(study)[1] / "measurements_sr.dcm")
    assert "Root Template Validation Complete" in lines
    assert_conformant(lines)
