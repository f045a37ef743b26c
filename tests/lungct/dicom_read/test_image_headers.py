"""Reading what a series needs to know from the header of one image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import CTImageStorage

from lungct.dicom_read.image_headers import OF_MANY_IMAGES, OF_ONE_IMAGE, FoundImages


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
    assert seen <= {*OF_ONE_IMAGE, *OF_MANY_IMAGES} | {"SharedFunctionalGroupsSequence"}
