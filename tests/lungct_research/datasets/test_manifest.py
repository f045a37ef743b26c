"""What a manifest may hold, and the message for what it may not."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from lungct.networks.classifier3d import CLASSES
from lungct_research.datasets.manifest import (
    PARTS,
    ManifestError,
    ManifestRow,
    format_manifest,
    read_manifest,
    split_cases,
)

HEADER = "path,patient,institution,label"
GOOD = ("a.nii,p1,north,covid19", "b.nii,p2,north,no_infection", "c.nii,p3,south,other_infection")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abcdef":
        (tmp_path / f"{name}.nii").touch()
    return tmp_path


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def problems(folder: Path, *rows: str, header: str = HEADER) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(write(folder, *rows, header=header))
    return str(caught.value).splitlines()


def test_rows_are_read_with_paths_beside_the_file(folder: Path) -> None:
    first, *_ = read_manifest(write(folder, *GOOD))
    assert first == ManifestRow(2, folder / "a.nii", "p1", "north", "covid19")


def test_optional_columns(folder: Path) -> None:
    header = f"{HEADER},mask,split,vendor,sex"
    (case,) = read_manifest(write(folder, f"{GOOD[0]},b.nii,test,GE,F", header=header))
    assert (case.mask, case.split) == (folder / "b.nii", "test")
    assert case.facts == {"vendor": "GE", "sex": "F"}


def test_parquet_gives_the_same_as_csv(folder: Path) -> None:
    cases = read_manifest(write(folder, "a.nii,1,2,covid19", "b.nii,2,2,no_infection"))
    table = pl.read_csv(folder / "manifest.csv")
    assert table["patient"].dtype == pl.Int64
    table.write_parquet(folder / "manifest.parquet")
    assert read_manifest(folder / "manifest.parquet") == cases


def test_a_written_manifest_reads_back(folder: Path) -> None:
    header = f"{HEADER},split,kernel"
    cases = read_manifest(write(folder, f"{GOOD[0]},train,B70f", f"{GOOD[1]},train,", header=header))
    (folder / "again.csv").write_text(format_manifest(cases))
    assert read_manifest(folder / "again.csv") == cases


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.nii,p9,west,covid-19", "row 3: label 'covid-19' is unknown: did you mean 'covid19'?"),
        ("a.nii,p9,west,no_infecton", "row 3: label 'no_infecton' is unknown: did you mean 'no_infection'?"),
        ("a.nii,p9,west,CAP", f"row 3: label 'CAP' is unknown: expected {', '.join(CLASSES)}"),
        ("gone.nii,p9,west,covid19", "row 3: path does not exist"),
        ("a.nii,,west,covid19", "row 3: patient is empty"),
        ("c.nii,p9,west,covid19", "rows 2, 3 name the same path"),
        ("a.nii,p3,west,covid19", "rows 2, 3 are one patient in several institutions"),
    ],
)
def test_a_wrong_row_is_named(folder: Path, row: str, message: str) -> None:
    (found,) = problems(folder, GOOD[2], row)
    assert found.startswith(message)


def test_all_problems_are_told_at_once_and_none_names_a_patient(folder: Path) -> None:
    found = problems(folder, "gone.nii,Doe^Jane,north,covid", "b.nii,Doe^Jane,,covid19")
    assert [line[:6] for line in found] == ["row 2:", "row 2:", "row 3:"]
    assert "Doe" not in "".join(found)


def test_columns_are_checked_first(folder: Path) -> None:
    found = problems(folder, "a.nii,p1,x,covid19", header="path,patent,institution,label")
    assert found == [
        "manifest.csv lacks the column patient",
        "manifest.csv has the unknown column 'patent': did you mean 'patient'?",
    ]


def test_an_empty_or_unreadable_manifest_is_refused(folder: Path) -> None:
    assert problems(folder) == ["manifest.csv has no rows"]
    with pytest.raises(ManifestError, match="gone.csv cannot be read"):
        read_manifest(folder / "gone.csv")


SPLIT_HEADER = f"{HEADER},split"


def test_a_patient_in_two_parts_is_refused(folder: Path) -> None:
    found = problems(
        folder, "a.nii,p1,north,covid19,train", "b.nii,p1,north,covid19,test", header=SPLIT_HEADER
    )
    assert found == [
        "one patient stands in several parts (row 2 train, row 3 test): keep a patient in one part"
    ]


def test_a_split_is_for_every_row_or_for_none(folder: Path) -> None:
    found = problems(folder, f"{GOOD[0]},train", f"{GOOD[1]},", header=SPLIT_HEADER)
    assert found == ["row 3: split is empty: give every row a part, or none"]
    cases = read_manifest(write(folder, f"{GOOD[0]},", f"{GOOD[1]},", header=SPLIT_HEADER))
    assert [case.split for case in cases] == [None, None]


def test_an_institution_in_two_parts_is_refused_unless_patients_are_divided(folder: Path) -> None:
    rows = [
        "a.nii,p1,north,covid19,train",
        "b.nii,p2,north,covid19,test",
        "c.nii,p3,south,covid19,train",
        "d.nii,p4,east,covid19,validation",
    ]
    (found,) = problems(folder, *rows, header=SPLIT_HEADER)
    assert found.startswith("one institution stands in several parts (row 2 train, row 3 test)")
    assert len(read_manifest(folder / "manifest.csv", split_by="patient")) == 4


def test_one_hospital_alone_may_divide_its_patients(folder: Path) -> None:
    rows = ["a.nii,p1,north,covid19,train", "b.nii,p2,north,covid19,test"]
    assert len(read_manifest(write(folder, *rows, header=SPLIT_HEADER))) == 2


def cohort(n_institutions: int, patients_each: int = 6) -> list[ManifestRow]:
    """Every patient has two CTs; the classes take turns."""
    return [
        ManifestRow(2, Path(f"{i}-{p}-{ct}"), f"{i}-{p}", f"site {i}", CLASSES[p % 3])
        for i in range(n_institutions)
        for p in range(patients_each)
        for ct in range(2)
    ]


def shares(cases: list[ManifestRow]) -> list[float]:
    return [sum(case.split == part for case in cases) / len(cases) for part in PARTS]


def test_institutions_are_divided_70_15_15_and_never_cut() -> None:
    cases = split_cases(cohort(20), seed=1)
    assert shares(cases) == pytest.approx([0.7, 0.15, 0.15])
    assert len({(case.institution, case.split) for case in cases}) == 20


def test_with_one_institution_patients_are_divided_and_never_cut() -> None:
    cases = split_cases(cohort(1, patients_each=60), seed=1)
    assert shares(cases) == pytest.approx([0.7, 0.15, 0.15], abs=0.04)
    assert len({(case.patient, case.split) for case in cases}) == 60


def test_the_seed_decides_the_division() -> None:
    assert split_cases(cohort(20), seed=1) == split_cases(cohort(20), seed=1)
    assert split_cases(cohort(20), seed=1) != split_cases(cohort(20), seed=2)


def test_a_class_without_cases_is_named() -> None:
    cases = [case for case in cohort(4) if case.label != "other_infection"]
    with pytest.raises(ManifestError, match="class other_infection has no cases"):
        split_cases(cases, seed=1)


def test_a_class_without_cases_in_a_part_is_named(folder: Path) -> None:
    rows = [f"{row},{part}" for row, part in zip(GOOD, PARTS, strict=True)]
    cases = read_manifest(write(folder, *rows, header=SPLIT_HEADER))
    with pytest.raises(ManifestError, match="class covid19 has no cases in validation"):
        split_cases(cases, seed=1)


def test_institutions_that_cannot_be_divided_say_what_to_do() -> None:
    one_class_each = [
        case for case in cohort(3, patients_each=9) if case.label == CLASSES[int(case.institution[-1])]
    ]
    with pytest.raises(ManifestError, match="3 institutions cannot be divided .* --split-by patient"):
        split_cases(one_class_each, seed=1)
    assert len(split_cases(one_class_each, seed=1, split_by="patient")) == len(one_class_each)
