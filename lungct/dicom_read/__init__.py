"""From a folder of DICOM files to one CT volume: scan headers, select a series, read it."""

from lungct.dicom_read.chest import read_chest
from lungct.dicom_read.choice import choose_series
from lungct.dicom_read.scan import read_patient_study, scan_folder
from lungct.dicom_read.selection import judge, select_series
from lungct.dicom_read.volume import read_volume

__all__ = [
    "choose_series",
    "judge",
    "read_chest",
    "read_patient_study",
    "read_volume",
    "scan_folder",
    "select_series",
]
