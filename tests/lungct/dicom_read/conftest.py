"""A tiny chest, ways to write it, and what SimpleITK reads of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK

from lungct.dicom_read import scan_folder
from lungct.records import Series, SliceHeader
from lungct_research.synthesis.phantom.dicom_study import write_study
from lungct_research.synthesis.phantom.study_options import StudyOptions

Volume = npt.NDArray[np.int16]


@pytest.fixture(scope="session")
def chest_hu() -> Volume:
    """``[20, 48, 40]``: a body with two unequal lungs in air, noisy, without any symmetry."""
    z, y, x = np.meshgrid(np.arange(20), np.arange(48), np.arange(40), indexing="ij")
    hu = np.full(z.shape, -1000.0)
    hu[((y - 24) / 20) ** 2 + ((x - 20) / 18) ** 2 < 1] = 40
    for centre, size in ((11, 6), (28, 8)):
        hu[((z - 9) / 12) ** 2 + ((y - 22) / 13) ** 2 + ((x - centre) / size) ** 2 < 1] = -850
    noise = np.random.default_rng(0).normal(0, 12, z.shape)
    return np.asarray(np.rint(hu + noise + z), np.int16).clip(-1024, 1000)


@pytest.fixture
def options() -> StudyOptions:
    return StudyOptions(spacing_mm=(1.25, 0.75, 0.625))


@pytest.fixture
def written(tmp_path: Path, chest_hu: Volume, options: StudyOptions) -> Callable[..., Series]:
    """Writes the chest with changed options into ``tmp_path / "study"`` and gives its only series."""

    def write(**changes: Any) -> Series:
        shutil.rmtree(tmp_path / "study", ignore_errors=True)
        write_study(chest_hu, tmp_path / "study", replace(options, **changes))
        (series,) = scan_folder(tmp_path / "study").series
        return series

    return write


@pytest.fixture
def by_simpleitk() -> Callable[[Path], tuple[npt.NDArray[Any], npt.NDArray[np.float64]]]:
    """Reads a folder's only series with SimpleITK: Hounsfield units and affine in our axis order."""

    def read(folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
        image = SimpleITK.ReadImage(names if len(names) > 1 else names[0])
        affine = np.eye(4)
        steps = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
        affine[:3, :3] = steps[:, ::-1]
        affine[:3, 3] = image.GetOrigin()
        return SimpleITK.GetArrayFromImage(image), affine

    return read


@pytest.fixture
def eligible() -> Series:
    """A series that no rule speaks against, made of headers alone."""
    slices = tuple(
        SliceHeader(
            path=Path(f"{number}.dcm"),
            instance_number=number,
            rows=512,
            columns=512,
            position_mm=(-180.0, -180.0, 1.25 * number),
            orientation=(1, 0, 0, 0, 1, 0),
            pixel_spacing_mm=(0.7, 0.7),
            image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
            name=f"{number}.dcm",
        )
        for number in range(200)
    )
    return Series(
        study_uid="1.2",
        series_uid="1.2.3",
        modality="CT",
        slices=slices,
        series_number=3,
        manufacturer="SIEMENS",
        kernel="B70f",
        slice_thickness_mm=1.25,
        body_part="CHEST",
        age_years=60.0,
    )
