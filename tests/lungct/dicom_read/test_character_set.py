"""A name fits its declared character set, or it was written in another one."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings

from lungct.dicom_read.character_set import find_misfits

CharacterSet = str | list[str] | None


def header(name: bytes, character_set: CharacterSet, keyword: str = "PatientName") -> Dataset:
    """What is read from a file that holds these bytes."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = character_set
    setattr(dataset, keyword, "#" * len(name))
    file = BytesIO()
    dataset.save_as(file, implicit_vr=False, little_endian=True)
    stored = file.getvalue().replace(b"#" * len(name), name)
    return dcmread(BytesIO(stored), force=True)


@pytest.mark.parametrize(
    ("name", "character_set"),
    [
        ("Doe^Jane", None),
        ("Müller^Jörg", None),
        ("Müller^Jörg", "ISO_IR 100"),
        ("Þórður^Ólöf", "ISO_IR 100"),
        ("O´Brien^Núria", "ISO_IR 100"),
        ("Mª^José", "ISO_IR 100"),
        ("Côté^Éléonore", "ISO_IR 100"),
        ("Dvořák^Jiří", "ISO_IR 101"),
        ("Çağlar^Şükrü", "ISO_IR 148"),
        ("Щербаков^Юрий", "ISO_IR 144"),
        ("Παπαδόπουλος^Ελένη", "ISO_IR 126"),
        ("محمد", "ISO_IR 127"),
        ("สมชาย", "ISO_IR 166"),
        ("王^小明", "GB18030"),
        ("李^强", "GB18030"),
        ("山田^太郎", "ISO_IR 192"),
    ],
)
def test_name_in_its_declared_character_set_fits(name: str, character_set: CharacterSet) -> None:
    stored = name.encode(convert_encodings(character_set)[0])
    assert find_misfits(header(stored, character_set), ["PatientName"]) == ()


def test_japanese_name_with_code_extensions_fits() -> None:
    stored = "Yamada^Tarou=山田^太郎".encode("iso2022_jp")
    assert find_misfits(header(stored, ["", "ISO 2022 IR 87"]), ["PatientName"]) == ()


@pytest.mark.parametrize(
    ("name", "written", "character_set"),
    [
        ("王^小明", "gbk", "ISO_IR 100"),
        ("张^伟", "gbk", "ISO_IR 100"),
        ("李^强", "gbk", None),
        ("王^小明", "gbk", "ISO_IR 192"),
        ("王^小明", "big5", "ISO_IR 100"),
        ("王^小明", "utf8", "GB18030"),
        ("Müller", "utf8", "ISO_IR 100"),
        ("Müller", "latin1", "ISO_IR 192"),
        ("Щербаков", "utf8", None),
        ("Иванов^Пётр", "cp1251", "ISO_IR 100"),
        ("Иванов^Пётр", "cp1251", "ISO_IR 144"),
        ("Иванов^Иван", "koi8-r", "ISO_IR 144"),
        ("山田^太郎", "shift_jis", "ISO_IR 100"),
        ("山田^太郎", "shift_jis", ["", "ISO 2022 IR 87"]),
        ("山田^太郎", "iso2022_jp", None),
        ("홍^길동", "euc_kr", "ISO_IR 100"),
        ("สมชาย", "tis-620", "ISO_IR 100"),
        ("محمد", "cp1256", "ISO_IR 100"),
    ],
)
def test_name_in_another_character_set_is_a_misfit(
    name: str, written: str, character_set: CharacterSet
) -> None:
    assert find_misfits(header(name.encode(written), character_set), ["PatientName"]) == ("PatientName",)


@pytest.mark.parametrize("text", ["Thorax nativ, 1½ mm", "CT «Lunge» ±1", "Thorax\r\nnativ"])
def test_signs_are_no_misfit_in_a_description(text: str) -> None:
    stored = text.encode("latin1")
    assert find_misfits(header(stored, "ISO_IR 100", "StudyDescription"), ["StudyDescription"]) == ()


def test_character_set_that_does_not_exist_fits_ascii_only() -> None:
    assert find_misfits(header(b"Doe^Jane", "ISO_IR 999"), ["PatientName"]) == ()
    assert find_misfits(header("王^小明".encode("gbk"), "ISO_IR 999"), ["PatientName"]) == ("PatientName",)
