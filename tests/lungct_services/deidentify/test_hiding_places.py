"""Identifiers in places that only an attacker, or a careless vendor, would put them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from lungct_services.deidentify.command import deidentify
from lungct_services.deidentify.copying import REPORT_FILE
from tests.lungct_services.gateway.site import write_chest

NAME, PATIENT_ID = "Müller-Quaxolotl^Zenobia", "ID-77310955"
WORDS = ("Müller", "Mueller", "Quaxolotl", "Zenobia", "77310955", "Xylander")
ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
Plant = Callable[[Dataset], None]


def put(keyword: str, value: object) -> Plant:
    return lambda dataset: setattr(dataset, keyword, value)


def raw(tag: int, vr: str, value: bytes) -> Plant:
    """Bytes as they stand in a file, whatever the standard says about the attribute."""

    def plant(dataset: Dataset) -> None:
        place = Tag(tag)
        dataset[place] = RawDataElement(place, vr, len(value), value, 0, False, True)

    return plant


def in_item(sequence: str, plant: Plant, depth: int = 1) -> Plant:
    def nest(dataset: Dataset) -> None:
        item = Dataset()
        plant(item) if depth == 1 else in_item(sequence, plant, depth - 1)(item)
        setattr(dataset, sequence, [item])

    return nest


def draw_in_unused_bits(dataset: Dataset) -> None:
    stored = np.frombuffer(dataset.PixelData, "<u2").copy() & 0x0FFF
    stored[::7] |= 0x8000
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
    dataset.PixelData = stored.tobytes()


def overlay(dataset: Dataset) -> None:
    dataset.add_new(0x60000022, "LO", "Zenobia")
    dataset.add_new(0x60001500, "LO", "Quaxolotl")
    dataset.add_new(0x60003000, "OW", b"Zenobia!")


def overlay_in_bits(dataset: Dataset) -> None:
    dataset.add_new(0x60000102, "US", 15)


def behind_the_pixels(dataset: Dataset) -> None:
    dataset.PixelData += b"Quaxolotl^Zenobia "


def private(dataset: Dataset) -> None:
    dataset.private_block(0x0011, "ZENOBIA", create=True).add_new(1, "UN", b"Quaxolotl" * 9000)


def in_latin_1(keyword: str) -> Plant:
    return raw(Tag(keyword), "LO", "Müller".encode("latin-1"))


UN_SEQUENCE = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x10\x00\x10\x00" + b"Zenobia " * 9000
KEPT = "ConvolutionKernel"
REMOVED: dict[str, Plant] = {
    "a standard sequence as UN, above 64 kB": raw(0x00081115, "UN", UN_SEQUENCE),
    "a standard sequence as UN, short": raw(0x00081115, "UN", UN_SEQUENCE[:100]),
    "a standard sequence as OB": raw(0x00081115, "OB", b"Zenobia " * 10),
    "a text attribute as OB": raw(0x00181210, "OB", b"Zenobia "),
    "an attribute of nobody": raw(0x00090FFE, "LO", b"Zenobia "),
    "a retired overlay": overlay,
    "a private block": private,
    "evaluator": put("EvaluatorName", "Xylander^Zenobia"),
    "person in an item": in_item("RequestAttributesSequence", put("PerformingPhysicianName", "Zenobia")),
    "person five items down": in_item("ReferencedStudySequence", put("OperatorsName", "Zenobia"), 5),
    "person as text": raw(Tag("ReferringPhysicianName"), "LO", b"Zenobia "),
    "content creator": put("ContentCreatorName", "Xylander"),
    "reviewer": put("ReviewerName", "Xylander^Quaxolotl"),
    "graphic annotation creator": put("NamesOfIntendedRecipientsOfResults", "Xylander"),
    **{
        f"removed {keyword}": put(keyword, "Zenobia 77310955")
        for keyword in (
            "PatientComments", "ImageComments", "StudyDescription", "SeriesDescription", "ProtocolName",
            "StationName", "InstitutionName", "InstitutionalDepartmentName", "AdmissionID",
            "DeviceSerialNumber", "RequestedProcedureDescription", "AdditionalPatientHistory", "Occupation",
            "PatientAddress", "OtherPatientIDs", "MedicalRecordLocator", "IssuerOfPatientID",
            "DerivationDescription", "ContrastBolusAgent", "DetectorID", "GantryID", "StudyID",
            "PerformedProcedureStepDescription", "PerformedStationName", "RequestingService",
            "CurrentPatientLocation", "TextComments", "FrameComments", "AcquisitionComments",
            "AcquisitionProtocolDescription",
        )
    },
}  # fmt: skip
"""The copy is made, without them."""

REFUSED: dict[str, tuple[Plant, str]] = {
    "kept text": (put(KEPT, "ZENOBIA"), "IDENTIFIER_LEFT"),
    "kept text, name in small pieces": (put(KEPT, "ze-no.bia"), "IDENTIFIER_LEFT"),
    "kept text without accent": (put(KEPT, "MULLER"), "IDENTIFIER_LEFT"),
    "kept text transliterated": (put(KEPT, "Mueller"), "IDENTIFIER_LEFT"),
    "kept text, ID of the patient": (put(KEPT, "X77310955"), "IDENTIFIER_LEFT"),
    "kept number": (put("AcquisitionNumber", 77310955), "IDENTIFIER_LEFT"),
    "kept decimal": (put("DistanceSourceToDetector", "77310955"), "IDENTIFIER_LEFT"),
    "kept text in Latin-1, as declared": (in_latin_1(KEPT), "IDENTIFIER_LEFT"),
    "kept text in UTF-8, declared as Latin-1": (
        raw(Tag(KEPT), "SH", "Müller ".encode()), "IDENTIFIER_LEFT"),
    "kept text with the UID of the original": (
        lambda dataset: setattr(dataset, "RescaleType", f"U {dataset.SOPInstanceUID}"), "IDENTIFIER_LEFT"),
    "kept bytes": (raw(0x00282000, "OB", "Quaxolotl".encode("utf-16-le")), "IDENTIFIER_LEFT"),
    "behind the pixels": (behind_the_pixels, "IDENTIFIER_LEFT"),
    "operator in a kept text": (
        lambda dataset: (setattr(dataset, "OperatorsName", "Xylander"), setattr(dataset, KEPT, "XYLANDER")),
        "IDENTIFIER_LEFT"),
    "unknown character set": (put("SpecificCharacterSet", "KLINGON_1"), "CHARACTER_SET"),
    "overlay in the bits of the pixels": (overlay_in_bits, "OVERLAY_IN_PIXELS"),
    "drawing in unused bits": (draw_in_unused_bits, "OVERLAY_IN_PIXELS"),
    "dose report": (put("ImageType", ["DERIVED", "SECONDARY", "OTHER", "DOSE_INFO"]),
                    "BURNED_IN_ANNOTATION_UNKNOWN"),
    "dose report by its name": (put("SeriesDescription", "Dose Report"), "BURNED_IN_ANNOTATION_UNKNOWN"),
    "a coloured CT": (put("SamplesPerPixel", 3), "BURNED_IN_ANNOTATION_UNKNOWN"),
}  # fmt: skip
"""No copy is made."""

POINTS_BACK = (
    "InstanceCreatorUID",
    "CreatorVersionUID",
    "DeviceUID",
    "ContextGroupExtensionCreatorUID",
    "StorageMediaFileSetUID",
    "IrradiationEventUID",
    "SynchronizationFrameOfReferenceUID",
)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    (path,) = write_chest(folder, 1, 1, patient_name=NAME, patient_id=PATIENT_ID)
    dataset = dcmread(path)
    dataset.decode()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.save_as(path)
    return path


def run(image: Path, folder: Path, plant: Plant) -> tuple[list[Path], dict[str, int]]:
    """Copies, and what was left out."""
    dataset = dcmread(image)
    plant(dataset)
    (folder / "in").mkdir()
    dataset.save_as(folder / "in" / "image.dcm")
    options = ["--key", str(folder / "key"), "--mapping", str(folder / "mapping.csv")]
    CliRunner().invoke(
        deidentify, [str(folder / "in"), str(folder / "out"), *options], catch_exceptions=False
    )
    left_out = json.loads((folder / "out" / REPORT_FILE).read_text())["left_out"]
    return list((folder / "out").rglob("*.dcm")), left_out


@pytest.mark.parametrize("place", REMOVED)
def test_what_the_profile_does_not_keep_is_in_no_byte_of_the_copy(
    image: Path, tmp_path: Path, place: str
) -> None:
    copies, left_out = run(image, tmp_path, REMOVED[place])
    assert (len(copies), left_out) == (1, {})
    content = copies[0].read_bytes().lower()
    assert [word for word in WORDS for code in ENCODINGS if word.lower().encode(code) in content] == []


@pytest.mark.parametrize("place", REFUSED)
def test_what_cannot_be_cleaned_is_not_copied(image: Path, tmp_path: Path, place: str) -> None:
    plant, reason = REFUSED[place]
    assert run(image, tmp_path, plant) == ([], {reason: 1})


def test_text_that_is_not_in_the_declared_character_set_is_not_copied(image: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepared.dcm"
    dataset = dcmread(image)
    dataset.decode()
    dataset.SpecificCharacterSet, dataset.ConvolutionKernel = "ISO_IR 192", "MXXLLER"
    dataset.save_as(prepared)
    prepared.write_bytes(prepared.read_bytes().replace(b"MXXLLER", b"M\xfcLLER "))
    assert run(prepared, tmp_path, lambda _: None) == ([], {"CHARACTER_SET": 1})


@pytest.mark.parametrize("keyword", POINTS_BACK)
def test_no_uid_points_back(image: Path, tmp_path: Path, keyword: str) -> None:
    (copy,), _ = run(image, tmp_path, put(keyword, "1.3.46.670589.33.1.7"))
    assert dcmread(copy).get(keyword, "") != "1.3.46.670589.33.1.7"


@pytest.mark.parametrize("description", ["Low Dose Thorax 1.0", "Chest protocol", "Lung report 1mm"])
def test_a_ct_with_a_usual_description_is_copied(image: Path, tmp_path: Path, description: str) -> None:
    copies, left_out = run(image, tmp_path, put("SeriesDescription", description))
    assert (len(copies), left_out) == (1, {})


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "pipes").mkdir()
    os.mkfifo(tmp_path / "pipes" / "pipe.dcm")
    options = ["--key", str(tmp_path / "key"), "--mapping", str(tmp_path / "mapping.csv")]
    CliRunner().invoke(deidentify, [str(tmp_path / "pipes"), str(tmp_path / "out"), *options])
    assert json.loads((tmp_path / "out" / REPORT_FILE).read_text())["left_out"] == {"NOT_A_FILE": 1}
