"""Examples of a site's cases, from every kind of file, and the messages for what cannot be used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from lungct.errors import GeometryError, InputError
from lungct_research.datasets.ct_files import PICTURE_EXTENT_MM, read_ct, read_lungs
from lungct_research.datasets.manifest import ManifestError, ManifestRow
from lungct_research.datasets.site_examples import site_example, site_examples
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions

SPACING_MM = (5.0, 6.0, 7.0)
SHAPE = (40, 24, 26)
CPU = torch.device("cpu")
MODELS = Path(__file__).parents[3] / "models"


def chest(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """HU and lungs, axes S, P, L; no two seeds alike."""
    volume_hu = np.full(SHAPE, 40, np.int16)
    lungs = np.zeros(SHAPE, np.uint8)
    lungs[4:36, 4:20, 3:11] = lungs[4:36, 4:20, 15:23] = 1
    volume_hu[lungs > 0] = -850 + seed
    volume_hu[:, 0] = -1000
    return volume_hu, lungs


DICOM_SPACING_MM = (2.5, 6.0, 7.0)


def write_dicom(folder: Path, **options: str) -> tuple[np.ndarray, np.ndarray]:
    """The chest in enough slices for the rules, and its lungs."""
    volume_hu, lungs = (np.repeat(array, 2, axis=0) for array in chest())
    write_study(
        volume_hu, folder, StudyOptions(spacing_mm=DICOM_SPACING_MM, slice_thickness_mm=3.0, **options)
    )
    return volume_hu, lungs


def write_nifti(path: Path, canonical: np.ndarray, origin_mm: float = 0.0) -> Path:
    """Axes S, P, L as NIfTI with columns to the left, rows to the back, slices to the head."""
    affine = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
    affine[2, 3] = origin_mm
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(canonical.transpose(2, 1, 0)), affine), path)
    return path


def case(path: Path, mask: Path | None, row: int = 2) -> ManifestRow:
    return ManifestRow(row, path, f"p{row}", "north", "covid19", mask)


@pytest.fixture(autouse=True)
def own_cache_and_no_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads instead of processes, which would take seconds to start."""
    monkeypatch.setattr("lungct_research.datasets.site_examples.CACHE_DIR", tmp_path / "cache")
    monkeypatch.setattr(
        "lungct_research.datasets.examples.ProcessPoolExecutor", lambda n, *_: ThreadPoolExecutor(n)
    )


def test_nifti_and_metaimage_give_the_same_volume(tmp_path: Path) -> None:
    volume_hu, _ = chest()
    volume_hu[7, 8, 9] = 300
    image = sitk.GetImageFromArray(volume_hu)
    image.SetSpacing(SPACING_MM[::-1])
    sitk.WriteImage(image, tmp_path / "chest.mha")
    first, second = (
        read_ct(path)[0] for path in (write_nifti(tmp_path / "chest.nii", volume_hu), tmp_path / "chest.mha")
    )
    for found in (first, second):
        assert np.array_equal(found.volume_hu, volume_hu)
        assert found.spacing_mm == pytest.approx(SPACING_MM)


def test_dicom_tells_what_subgroups_are_made_of(tmp_path: Path) -> None:
    volume_hu, _ = write_dicom(tmp_path / "study", manufacturer="Philips", kernel="L", patient_sex="F")
    volume, facts = read_ct(tmp_path / "study")
    assert np.array_equal(volume.volume_hu, volume_hu)
    assert facts == {
        "vendor": "Philips",
        "kernel": "L",
        "slice_thickness_mm": "3.0",
        "sex": "F",
        "age_years": "50.0",
    }


def test_pictures_become_a_chest_of_usual_size_with_the_head_last(tmp_path: Path) -> None:
    for number in range(1, 12):
        Image.new("L", (30, 20), 17 * number).save(tmp_path / f"{number}.png")
    volume, facts = read_ct(tmp_path)
    assert np.multiply(volume.spacing_mm, volume.volume_hu.shape) == pytest.approx(PICTURE_EXTENT_MM)
    assert volume.volume_hu[-1, 0, 0] == pytest.approx(-1250 + 1500 * 17 / 255)
    assert np.all(np.diff(volume.volume_hu[:, 0, 0]) < 0)
    assert facts == {}


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chest.mha").write_text("no image")
    with pytest.raises(InputError, match=r"chest\.mha cannot be read as a volume"):
        read_ct(tmp_path / "chest.mha")


def test_masks_must_lie_on_the_grid_and_hold_something(tmp_path: Path) -> None:
    volume_hu, lungs = chest()
    volume, _ = read_ct(write_nifti(tmp_path / "chest.nii", volume_hu))
    assert np.array_equal(read_lungs(write_nifti(tmp_path / "good.nii", 5 * lungs), volume), lungs)
    for name, mask, origin_mm in (("off", lungs, 50.0), ("short", lungs[:-1], 0.0)):
        with pytest.raises(GeometryError, match=rf"{name}\.nii does not lie on the grid"):
            read_lungs(write_nifti(tmp_path / f"{name}.nii", mask, origin_mm), volume)
    with pytest.raises(GeometryError, match=r"none\.nii is empty"):
        read_lungs(write_nifti(tmp_path / "none.nii", 0 * lungs), volume)


def test_an_example_is_what_the_classifier_sees(tmp_path: Path) -> None:
    volume_hu, lungs = chest()
    path, mask = write_nifti(tmp_path / "c.nii", volume_hu), write_nifti(tmp_path / "m.nii", lungs)
    example = site_example(path, mask, MODELS / "lungs", "cpu")
    volume = example["volume"]
    assert volume.shape == (1, 64, 224, 224)
    assert volume[0, 32, 112, 60] == round(255 * (1250 - 850) / 1500)
    assert volume[0, 32, 112, 112] == volume[0, 0].max() == 0


def test_cases_are_cached_and_what_headers_say_is_added(tmp_path: Path) -> None:
    _, lungs = write_dicom(tmp_path / "study", manufacturer="Philips")
    slice_mm, row_mm, column_mm = DICOM_SPACING_MM
    affine = np.diag([-column_mm, -row_mm, slice_mm, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(lungs.shape[::-1]) - 1) / 2)
    mask = tmp_path / "lungs.nii"
    nibabel.save(nibabel.Nifti1Image(lungs.transpose(2, 1, 0), affine), mask)
    one = ManifestRow(
        2, tmp_path / "study", "p", "north", "covid19", mask, facts={"vendor": "as the site says"}
    )
    (cached,) = site_examples([one], MODELS / "lungs", CPU)
    written = cached.file.stat().st_mtime_ns
    assert site_examples([one], MODELS / "lungs", CPU)[0].file.stat().st_mtime_ns == written
    assert (cached.row.facts["vendor"], cached.row.facts["kernel"]) == ("as the site says", "LUNG")


def test_unreadable_rows_are_all_named_and_the_good_ones_kept(tmp_path: Path) -> None:
    volume_hu, lungs = chest()
    mask = write_nifti(tmp_path / "lungs.nii", lungs)
    good = write_nifti(tmp_path / "good.nii", volume_hu)
    (tmp_path / "bad.nii").write_text("no image")
    (tmp_path / "empty").mkdir()
    cases = [case(good, mask, 2), case(tmp_path / "bad.nii", mask, 3), case(tmp_path / "empty", mask, 4)]
    with pytest.raises(ManifestError) as caught:
        site_examples(cases, MODELS / "lungs", CPU)
    third, fourth = str(caught.value).splitlines()
    assert third.startswith("row 3: ")
    assert "cannot be read as NIfTI" in third
    assert fourth.startswith("row 4: ")
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1


def test_the_same_images_under_two_names_are_refused(tmp_path: Path) -> None:
    volume_hu, lungs = chest()
    mask = write_nifti(tmp_path / "lungs.nii", lungs)
    paths = [write_nifti(tmp_path / f"{name}.nii", volume_hu) for name in "ab"]
    other = write_nifti(tmp_path / "c.nii", chest(seed=1)[0])
    cases = [case(path, mask, row) for row, path in enumerate([paths[0], other, paths[1]], 2)]
    with pytest.raises(ManifestError, match="^rows 2, 4 hold the same images$"):
        site_examples(cases, MODELS / "lungs", CPU)
    different = site_examples(cases[:2], MODELS / "lungs", CPU)
    assert len({cached.sha256 for cached in different}) == 2
