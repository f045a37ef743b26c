"""Tiny files in the layouts in which the data sets are published."""

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from lungct.errors import GeometryError, InputError
from lungct.records import Lobe
from lungct_research.datasets.disease import Disease
from lungct_research.datasets.sets import (
    covid_19_ct_seg,
    covid_ct_md,
    covid_ct_md_normal,
    medseg,
    mosmed,
    mosmed_ct_0,
    ricord_1a,
    ricord_1b,
)
from lungct_research.evaluation.cases import SETS, painted
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions

SPACING_MM = (5.0, 1.5, 2.0)
RAS, LAS, LPS = (np.diag([*signs, 1.0]) for signs in ((1, 1, 1), (-1, 1, 1), (-1, -1, 1)))


def chest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU, opacity and lungs (1 left, 2 right), axes S, P, L; the opacity lies low in the left lung."""
    volume_hu = np.full((6, 12, 14), 40, np.int16)
    lungs = np.zeros(volume_hu.shape, np.uint8)
    lungs[1:5, 2:10, 1:6], lungs[1:5, 2:10, 8:13] = 2, 1
    volume_hu[lungs > 0] = -850
    opacity = np.zeros(volume_hu.shape, np.uint8)
    opacity[1:3, 7:9, 9:12] = 1
    volume_hu[opacity > 0] = -300
    return volume_hu, opacity, lungs


def save(path: Path, canonical: np.ndarray, axes: np.ndarray = RAS) -> None:
    """Write an array with axes S, P, L as NIfTI whose axes point as the diagonal of ``axes`` says."""
    array = canonical.transpose(2, 1, 0)
    # Columns run to the left and rows to the back: both against RAS.
    flips = tuple(slice(None, None, int(sign)) for sign in (-axes[0, 0], -axes[1, 1], axes[2, 2]))
    affine = axes @ np.diag([SPACING_MM[2], SPACING_MM[1], SPACING_MM[0], 1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array[flips]), affine), path)


def write_ct_seg(root: Path, name: str, stored: np.ndarray, axes: np.ndarray) -> None:
    _, opacity, lungs = chest()
    save(root / "COVID-19-CT-Seg_20cases" / f"{name}.nii.gz", stored, axes)
    save(root / "Infection_Mask" / f"{name}.nii.gz", opacity, axes)
    save(root / "Lung_Mask" / f"{name}.nii.gz", lungs, axes)
    save(
        root / "Lung_and_Infection_Mask" / f"{name}.nii.gz",
        np.where(opacity, 3, lungs).astype(np.uint8),
        axes,
    )


def test_painted_chests_come_with_exact_masks_and_kinds(real_ct: Path) -> None:
    case = next(painted(real_ct))
    assert case.volume.volume_hu.shape == case.opacity.shape == case.lungs.shape == case.kinds.shape
    assert case.opacity.any()
    assert ((case.kinds > 0) == (case.opacity > 0)).all()
    assert not (case.opacity[case.lungs == 0]).any()


@pytest.mark.parametrize("axes", [RAS, LAS, LPS])
def test_covid_19_ct_seg_is_read_in_any_orientation(tmp_path: Path, axes: np.ndarray) -> None:
    volume_hu, opacity, lungs = chest()
    write_ct_seg(tmp_path, "coronacases_001", volume_hu, axes)
    (case,) = covid_19_ct_seg(tmp_path)
    assert case.name == "coronacases_001"
    assert np.array_equal(case.volume.volume_hu, volume_hu)
    assert case.volume.spacing_mm == pytest.approx(SPACING_MM)
    assert np.array_equal(case.opacity, opacity)
    assert np.array_equal(case.lungs, lungs > 0)


def test_grey_chests_of_covid_19_ct_seg_get_hounsfield_units(tmp_path: Path) -> None:
    volume_hu, *_ = chest()
    grey = np.clip((volume_hu + 1250) / 1500 * 255, 0, 255).astype(np.uint8)
    write_ct_seg(tmp_path, "radiopaedia_4_85506_1", grey, LPS)
    (case,) = covid_19_ct_seg(tmp_path)
    assert np.allclose(case.volume.volume_hu, volume_hu, atol=6)


def test_mosmed_pairs_masks_with_studies_and_keeps_ct_0_apart(tmp_path: Path) -> None:
    volume_hu, opacity, _ = chest()
    save(tmp_path / "studies" / "CT-0" / "study_0001.nii.gz", volume_hu)
    save(tmp_path / "studies" / "CT-1" / "study_0255.nii.gz", volume_hu)
    save(tmp_path / "studies" / "CT-1" / "study_0400.nii.gz", volume_hu)
    save(tmp_path / "masks" / "study_0255_mask.nii.gz", opacity)
    (case,) = mosmed(tmp_path)
    assert (case.name, case.disease) == ("study_0255", Disease.COVID19)
    assert np.array_equal(case.opacity, opacity)
    (normal,) = mosmed_ct_0(tmp_path)
    assert (normal.name, normal.disease) == ("study_0001", Disease.NO_INFECTION)
    assert not normal.opacity.any()


def test_medseg_in_the_own_layout(tmp_path: Path) -> None:
    volume_hu, opacity, lungs = chest()
    grey = np.clip((volume_hu + 1250) / 1500 * 255, 0, 255).astype(np.uint8)
    save(tmp_path / "covid_grey" / "vol2.nii.gz", grey, LPS)
    save(
        tmp_path / "covid_grey" / "vol2_seg.nii.gz",
        np.where(opacity, 1, 2 * (lungs > 0)).astype(np.uint8),
        LPS,
    )
    (case,) = medseg(tmp_path)
    assert np.array_equal(case.opacity, opacity)
    assert np.array_equal(case.lungs, lungs > 0)


def test_a_mask_on_another_grid_is_refused_by_name(tmp_path: Path) -> None:
    volume_hu, opacity, _ = chest()
    save(tmp_path / "studies" / "CT-1" / "study_0255.nii.gz", volume_hu)
    save(tmp_path / "masks" / "study_0255_mask.nii.gz", opacity[:-1])
    with pytest.raises(
        GeometryError, match=r"study_0255_mask\.nii\.gz does not lie on the grid of .*study_0255\.nii"
    ):
        list(mosmed(tmp_path))
    save(tmp_path / "masks" / "study_0255_mask.nii.gz", opacity, LAS)
    with pytest.raises(GeometryError, match="does not lie on the grid"):
        list(mosmed(tmp_path))


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    _, opacity, _ = chest()
    save(tmp_path / "masks" / "study_0255_mask.nii.gz", opacity)
    study = tmp_path / "studies" / "CT-1" / "study_0255.nii.gz"
    study.parent.mkdir(parents=True)
    study.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"study_0255\.nii\.gz cannot be read as NIfTI"):
        list(mosmed(tmp_path))


@pytest.mark.parametrize("name", SETS)
def test_a_folder_that_is_not_the_data_set_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        list(SETS[name](tmp_path))


def dicom_chest() -> np.ndarray:
    """``[60, 24, 28]``: enough slices for the selection rules, air in front."""
    volume_hu = np.repeat(np.repeat(np.repeat(chest()[0], 10, 0), 2, 1), 2, 2)
    volume_hu[:, 0] = -1000
    return volume_hu


DICOM = StudyOptions(spacing_mm=(3.0, 6.0, 6.0))


def write_covid_ct_md(root: Path, n_labels: int, indices: tuple[int, int]) -> None:
    for group, name in (
        ("COVID-19 subjects", "P001"),
        ("Cap subjects", "cap001"),
        ("Normal subjects", "normal001"),
    ):
        write_study(dicom_chest(), root / group / name, DICOM)
    with (root / "Index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Label Index", "Diagnosis", "Relative Path", "Folder/ID"])
        writer.writerows(
            [[indices[0], "COVID-19", "./COVID-19/", "P001"], [indices[1], "CAP", "./CAP/", "cap001"]]
        )
    slices, lobes = np.zeros((n_labels, 80)), np.zeros((n_labels, 80, 5))
    row = min(indices[1], n_labels - 1)
    slices[row, 50:55], lobes[row, 50:55, 0] = 1, 1
    np.save(root / "Slice-level-labels.npy", slices)
    np.save(root / "Lobe-level-labels.npy", lobes)


@pytest.mark.parametrize(("n_labels", "indices"), [(2, (0, 1)), (2, (0, 2)), (3, (0, 2))])
def test_covid_ct_md_labels_run_from_head_to_feet(
    tmp_path: Path, n_labels: int, indices: tuple[int, int]
) -> None:
    write_covid_ct_md(tmp_path, n_labels, indices)
    first, second = covid_ct_md(tmp_path)
    assert not first.slice_infected.any()
    assert np.flatnonzero(second.slice_infected).tolist() == [5, 6, 7, 8, 9]
    infected = {lobe for lobe, slices in second.lobe_infected.items() if slices.any()}
    assert infected == {Lobe.LEFT_LOWER}
    assert np.array_equal(second.lobe_infected[Lobe.LEFT_LOWER], second.slice_infected)
    (normal,) = covid_ct_md_normal(tmp_path)
    assert (normal.name, normal.disease) == ("normal001", Disease.NO_INFECTION)


def test_corrected_labels_of_covid_ct_md_are_preferred(tmp_path: Path) -> None:
    write_covid_ct_md(tmp_path, 2, (0, 1))
    for level in ("Slice", "Lobe"):
        labels = np.load(tmp_path / f"{level}-level-labels.npy")
        np.save(tmp_path / f"{level}-level-labels-updated-1.npy", labels[::-1])
    first, second = covid_ct_md(tmp_path)
    assert np.flatnonzero(first.slice_infected).tolist() == [5, 6, 7, 8, 9]
    assert not second.slice_infected.any()
    assert not second.lobe_infected[Lobe.LEFT_LOWER].any()


def test_covid_ct_md_labels_beyond_the_last_slice_are_refused(tmp_path: Path) -> None:
    write_covid_ct_md(tmp_path, 2, (0, 1))
    slices = np.load(tmp_path / "Slice-level-labels.npy")
    slices[0, 70] = 1
    np.save(tmp_path / "Slice-level-labels.npy", slices)
    with pytest.raises(GeometryError, match="P001 has 60 slices"):
        list(covid_ct_md(tmp_path))


def test_ricord_1a_polygons_become_a_mask(tmp_path: Path) -> None:
    patient = "MIDRC-RICORD-1A-000000-000001"
    files = write_study(dicom_chest(), tmp_path / "MIDRC-RICORD-1A" / patient / "study" / "series", DICOM)
    headers = sorted(
        (pydicom.dcmread(path) for path in files), key=lambda image: image.ImagePositionPatient[2]
    )
    image = headers[12]

    def note(label: str, vertices: list[list[int]] | None) -> dict:
        uids = {"SeriesInstanceUID": image.SeriesInstanceUID, "SOPInstanceUID": image.SOPInstanceUID}
        return {"labelId": label, "data": vertices and {"vertices": vertices}, **uids}

    export = {
        "labelGroups": [
            {"labels": [{"id": "L_1", "name": "Infectious opacity"}, {"id": "L_2", "name": "Atelectasis"}]}
        ],
        "datasets": [
            {
                "annotations": [
                    note("L_1", [[18, 14], [22, 14], [22, 17], [18, 17]]),
                    note("L_2", [[2, 2], [8, 2], [8, 8]]),
                    note("L_1", None),
                ]
            }
        ],
    }
    (tmp_path / "MIDRC-RICORD-1a_annotations_labelgroup_all_2020-Dec-8.json").write_text(json.dumps(export))
    (case,) = ricord_1a(tmp_path)
    expected = np.zeros((60, 24, 28), np.uint8)
    expected[12, 14:18, 18:23] = 1
    assert np.array_equal(case.opacity, expected)
    assert case.name.startswith(patient)
    assert np.array_equal(case.volume.volume_hu, dicom_chest())


def test_ricord_1a_without_the_annotated_slice_is_refused(tmp_path: Path) -> None:
    files = write_study(dicom_chest(), tmp_path / "MIDRC-RICORD-1A" / "P" / "study" / "series", DICOM)
    series_uid = pydicom.dcmread(files[0]).SeriesInstanceUID
    one = {"labelId": "L", "SeriesInstanceUID": series_uid, "SOPInstanceUID": "1.2.3"}
    export = {
        "labelGroups": [{"labels": [{"id": "L", "name": "Infectious opacity"}]}],
        "datasets": [{"annotations": [{**one, "data": {"vertices": [[1, 1], [5, 1], [5, 5]]}}]}],
    }
    (tmp_path / "MIDRC-RICORD-1a_annotations.json").write_text(json.dumps(export))
    with pytest.raises(GeometryError, match="annotated slices are missing"):
        list(ricord_1a(tmp_path))


def test_ricord_1b_says_nothing_about_opacities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "MIDRC-RICORD-1B"
    write_study(dicom_chest(), root / "P1" / "study" / "series", DICOM)
    write_study(dicom_chest()[:8], root / "P2" / "short" / "series", DICOM)
    (case,) = ricord_1b(tmp_path)
    assert (case.name, case.opacity, case.disease) == ("P1-study", None, None)
    assert "short left out" in capsys.readouterr().err
