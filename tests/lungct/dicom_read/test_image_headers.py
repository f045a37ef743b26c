"""Reading what a series needs to know from the header of one image."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import CTImageStorage

from lungct.dicom_read.files import read_dataset
from lungct.dicom_read.image_headers import OF_MANY_IMAGES, OF_ONE_IMAGE, FoundImages
from lungct.records import Series

FUNCTIONAL_GROUPS = {"PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"}


class WatchedHeader(Dataset):
    """A header that remembers which attributes are looked at."""

    def get(self, key: Any, default: Any = None) -> Any:
        seen.add(key)
        return super().get(key, default)


seen: set[str] = set()


def test_every_attribute_that_is_read_tells_images_apart() -> None:
    header = WatchedHeader()
    header.SOPClassUID, header.Rows, header.Columns = CTImageStorage, 2, 2
    header.SeriesDescription = "nothing about the body"
    FoundImages().add(header, Path(), "image")
    assert "ImagePositionPatient" in seen
    assert seen <= {*OF_ONE_IMAGE, *OF_MANY_IMAGES} | FUNCTIONAL_GROUPS


def test_every_copy_of_a_multi_frame_file_has_all_its_frames(
    tmp_path: Path, written: Callable[..., Series]
) -> None:
    (one,) = {image.path for image in written(enhanced=True).slices}
    shutil.copy(one, tmp_path / "copy.dcm")
    found = FoundImages()
    for path in (one, tmp_path / "copy.dcm"):
        found.add(read_dataset(path, with_pixels=False), path, path.name)
    first, second = next(iter(found.parts.values()))
    assert len(first.slices) == len(second.slices) > 1
