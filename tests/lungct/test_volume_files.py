"""Volume files for research: read in any orientation, refused where axes or values cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from lungct.errors import GeometryError, InputError, NoEligibleSeriesError, PixelDataError
from lungct.records.orientation import LPS_TO_RAS, to_canonical
from lungct.settings import SelectionLimits
from lungct.volume_files import is_volume_file, read_hu_file, select_volume, volume_chest

SPACING_MM = (2.0, 0.8, 0.7)
AFFINE_LPS = np.array([[0, 0, 0.7, -100], [0, 0.8, 0, -90], [2.0, 0, 0, 40], [0, 0, 0, 1]])


def canonical_hu(n_slices: int = 100) -> np.ndarray:
    values = np.random.default_rng(1).integers(-1000, 100, (n_slices, 12, 14)).astype(np.int16)
    values[0, 0, 0] = -1000
    return values


def write_nifti(
    path: Path, volume_hu: np.ndarray, affine_lps: np.ndarray = AFFINE_LPS, code: int = 1
) -> Path:
    image = nibabel.Nifti1Image(volume_hu, LPS_TO_RAS @ affine_lps)
    image.set_sform(image.affine, code)
    image.set_qform(image.affine if code else None, code)
    nibabel.save(image, path)
    return path


def write_itk(path: Path, volume_hu: np.ndarray) -> Path:
    image = sitk.GetImageFromArray(volume_hu)
    image.SetSpacing(SPACING_MM[::-1])
    image.SetOrigin((-100, -90, 40))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["chest.nii.gz", "chest.nii", "chest.nrrd", "chest.mha", "chest.mhd"])
def test_same_voxels_at_the_same_place_from_every_format(name: str, tmp_path: Path) -> None:
    volume_hu = canonical_hu()
    path = (write_nifti if ".nii" in name else write_itk)(tmp_path / name, volume_hu)
    volume = to_canonical(read_hu_file(path))
    assert np.array_equal(volume.volume_hu, volume_hu)
    assert volume.affine_lps == pytest.approx(AFFINE_LPS, abs=1e-4)


@pytest.mark.parametrize(("name", "expected"), [("a.nii.gz", True), ("A.NRRD", True), ("a.dcm", False)])
def test_a_volume_file_is_known_by_its_name(name: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert is_volume_file(tmp_path / name) is expected


def test_values_without_air_are_no_hounsfield_units(tmp_path: Path) -> None:
    with pytest.raises(PixelDataError, match="store Hounsfield units"):
        read_hu_file(write_nifti(tmp_path / "a.nii", canonical_hu() + np.int16(1024)))


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    volume_hu = canonical_hu().astype(np.float32)
    volume_hu[3, 4, 5] = np.nan
    with pytest.raises(PixelDataError, match="no numbers"):
        read_hu_file(write_nifti(tmp_path / "a.nii", volume_hu))


def test_axes_that_are_not_at_right_angles_are_refused(tmp_path: Path) -> None:
    sheared = AFFINE_LPS.copy()
    sheared[1, 0] = 0.5
    with pytest.raises(GeometryError, match="right angles"):
        read_hu_file(write_nifti(tmp_path / "a.nii", canonical_hu(), sheared))


def test_nifti_that_does_not_say_how_the_patient_lies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="how the patient lies"):
        read_hu_file(write_nifti(tmp_path / "a.nii", canonical_hu(), code=0))


def test_damaged_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_text("NRRD0004\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_hu_file(tmp_path / "a.nrrd")


def test_volume_is_judged_by_the_rules_for_series(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", canonical_hu(20))
    volume = read_hu_file(path)
    selection = select_volume(path, volume, SelectionLimits())
    assert {reason.code for reason in selection.verdicts[0].reasons} == {"TOO_FEW_SLICES", "EXTENT_TOO_SHORT"}
    with pytest.raises(NoEligibleSeriesError):
        volume_chest(selection, volume)


def test_chest_of_a_volume_knows_no_patient(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", canonical_hu())
    volume = read_hu_file(path)
    chest = volume_chest(select_volume(path, volume, SelectionLimits()), volume)
    assert (chest.patient.patient_name, chest.patient.patient_id) == ("", "")
    assert np.array_equal(chest.volume.volume_hu, canonical_hu())
