"""The findings as DICOM objects: segmentations, structured report, encapsulated PDF, secondary captures."""

from pydicom import config

# pydicom's validation warnings quote attribute values; patient data must not reach the log.
config.settings.writing_validation_mode = config.IGNORE
