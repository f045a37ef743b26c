"""Names of the files of an analysis, in a module that is quick to import."""

from pathlib import Path

RESULT_FILE = "result.json"
LOBES_FILE = "lobes.nii.gz"
OPACITIES_FILE = "opacities.nii.gz"
REPORT_FILE = "report.pdf"
HTML_FILE = "report.html"

DICOM_FOLDER = "dicom"
ANATOMY_SEG, OPACITIES_SEG, TREE_SEG = "anatomy_seg.dcm", "opacities_seg.dcm", "airways_vessels_seg.dcm"
MEASUREMENTS_SR, REPORT_DICOM = "measurements_sr.dcm", "report_pdf.dcm"

KEY_SLICES = tuple(f"key_slice_{number}.dcm" for number in range(1, 10))
"""Names of the most affected slice and of others."""

DICOM_FILES = tuple(
    f"{DICOM_FOLDER}/{name}"
    for name in (ANATOMY_SEG, OPACITIES_SEG, TREE_SEG, MEASUREMENTS_SR, REPORT_DICOM, *KEY_SLICES)
)
"""Files in a folder of their own, since exporters send everything in a folder as DICOM."""

FORMER_FILES = (f"{DICOM_FOLDER}/findings_seg.dcm",)
"""Files of version 0.1.0, removed like results of today, lest an exporter send old with new."""

DELIVERED_FILES = (LOBES_FILE, OPACITIES_FILE, REPORT_FILE, HTML_FILE, *DICOM_FILES, *FORMER_FILES)
"""All files of an analysis but ``result.json``."""


def packaged_models() -> Path:
    """Return the folder of the weights that come with the package: inside the wheel, or of the repository."""
    package = Path(__file__).resolve().parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"
