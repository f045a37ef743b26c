"""Label maps and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lungct.delivery import write_label_maps
from lungct.file_names import LOBES_FILE, OPACITIES_FILE
from lungct.records import Analysis, QualityFlag
from lungct.report.pictures import (
    LUNG_RGB,
    OPACITY_RGB,
    crop_to_lungs,
    cut_coronal,
    cut_transverse,
    draw,
    find_most_affected_slice,
)


def test_label_maps_lie_on_the_grid_of_the_series(tmp_path: Path, analysis: Analysis) -> None:
    write_label_maps(tmp_path, analysis.chest.source, analysis.anatomy, analysis.opacities)
    image, chest = sitk.ReadImage(tmp_path / LOBES_FILE), analysis.chest
    origin = chest.source.affine_lps @ (0, 0, 0, 1)
    assert image.GetOrigin() == pytest.approx(origin[:3])
    assert image.GetSize() == chest.source.volume_hu.shape[::-1]
    assert image.GetSpacing() == pytest.approx(chest.source.spacing_mm[::-1])


def test_readers_of_qform_and_of_sform_see_the_same_place(tmp_path: Path, analysis: Analysis) -> None:
    write_label_maps(tmp_path, analysis.chest.source, analysis.anatomy, analysis.opacities)
    for name in (LOBES_FILE, OPACITIES_FILE):
        image = nib.load(tmp_path / name)
        (qform, q_code), (sform, s_code) = image.get_qform(coded=True), image.get_sform(coded=True)
        assert (q_code, s_code) == (1, 1)
        assert qform == pytest.approx(sform)
        assert "research use only" in str(image.header["descrip"])


def test_label_maps_cover_the_lung_of_the_stored_volume(tmp_path: Path, analysis: Analysis) -> None:
    write_label_maps(tmp_path, analysis.chest.source, analysis.anatomy, analysis.opacities)
    lobes = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / LOBES_FILE))
    opacity = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / OPACITIES_FILE))
    assert (analysis.chest.source.volume_hu[lobes > 0] == -850).all()
    assert opacity.sum() == analysis.opacities.mask.sum()
    assert (lobes[opacity > 0] > 0).all()


def test_most_affected_slice_has_the_largest_opacity(analysis: Analysis) -> None:
    assert find_most_affected_slice(analysis) == 5


def test_sides_in_doubt_carry_a_question_mark(analysis: Analysis) -> None:
    flags = (*analysis.findings.flags, QualityFlag("ORIENTATION_DOUBTFUL", "spine in front"))
    doubtful = replace(analysis, findings=replace(analysis.findings, flags=flags))
    assert (cut_coronal(analysis, 0).doubt, cut_coronal(doubtful, 0).doubt) == ("", "?")
    certain, asked = (np.array(draw(cut_coronal(one, 0), contours=False)) for one in (analysis, doubtful))
    assert not np.array_equal(certain, asked)


def test_without_opacities_the_slice_with_most_lung_is_shown(analysis: Analysis) -> None:
    empty = replace(analysis.opacities, mask=np.zeros_like(analysis.opacities.mask))
    assert find_most_affected_slice(replace(analysis, opacities=empty)) == 3


def test_pictures_have_square_pixels(analysis: Analysis) -> None:
    width_mm, depth_mm, height_mm = 200, 120, 120
    axial = draw(cut_transverse(analysis, 5), contours=False)
    front = draw(cut_coronal(analysis, 30), contours=False)
    assert axial.width / axial.height == pytest.approx(width_mm / depth_mm)
    assert front.width / front.height == pytest.approx(width_mm / height_mm)


def test_transverse_picture_keeps_the_lungs_of_all_slices_and_the_chest_wall(analysis: Analysis) -> None:
    """Lungs fill rows 15 to 44 of 60 and columns 10 to 89 of 100; 25 mm are 12 voxels of 2 mm."""
    plane = crop_to_lungs(cut_transverse(analysis, 5), analysis.anatomy.lobes)
    assert plane.plane_hu.shape == plane.lobes.shape == plane.opacity.shape == (54, 100)
    assert np.array_equal(plane.lobes, analysis.anatomy.lobes[5, 3:57])


def test_transverse_picture_without_lungs_is_whole(analysis: Analysis) -> None:
    plane = cut_transverse(analysis, 5)
    assert crop_to_lungs(plane, np.zeros_like(analysis.anatomy.lobes)) is plane


def test_contours_follow_lungs_and_opacities(analysis: Analysis) -> None:
    pixels = np.asarray(draw(cut_transverse(analysis, 5), contours=True))
    columns = {
        name: np.flatnonzero((pixels == rgb).all(axis=2).any(axis=0))
        for name, rgb in (("lung", LUNG_RGB), ("opacity", OPACITY_RGB))
    }
    pixels_per_voxel = pixels.shape[1] / 100
    assert columns["lung"].min() / pixels_per_voxel == pytest.approx(10, abs=0.5)
    assert columns["lung"].max() / pixels_per_voxel == pytest.approx(90, abs=0.5)
    assert columns["opacity"].min() / pixels_per_voxel == pytest.approx(12, abs=0.5)
    assert columns["opacity"].max() / pixels_per_voxel == pytest.approx(30, abs=0.5)
