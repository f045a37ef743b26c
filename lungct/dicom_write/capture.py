"""Key slices with contours as Secondary Capture, for viewers that show neither segmentations nor reports."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

import lungct
from lungct.dicom_write.origin import APPLICATION, Origin, finish
from lungct.dicom_write.references import can_refer_to, make_reference
from lungct.file_names import KEY_SLICES
from lungct.findings.quality import SEVERE_FLAGS
from lungct.records import Analysis, SliceHeader
from lungct.records.orientation import from_canonical
from lungct.report.pictures import PIXELS_PER_MM, READABLE, cut_transverse, draw, find_most_affected_slice

SERIES = 9305
N_KEY_SLICES = len(KEY_SLICES) - 1
"""Number of key slices besides the most affected one."""

LINE_HEIGHT = 1.4
"""Distance of the lines of a caption, in heights of their letters."""


def draw_key_slices(analysis: Analysis, origin: Origin) -> list[SCImage]:
    """Draw the most affected slice, then key slices from head to feet."""
    indices = (find_most_affected_slice(analysis), *choose_key_slices(analysis))
    return [_capture(analysis, index, number, origin) for number, index in enumerate(indices, start=1)]


def choose_key_slices(analysis: Analysis) -> list[int]:
    """Return slices of the canonical volume spread over those with opacities, else lung, head to feet."""
    affected = np.flatnonzero(analysis.opacities.mask.any(axis=(1, 2)))
    if not affected.size:
        affected = np.flatnonzero(analysis.anatomy.lobes.any(axis=(1, 2)))
    places = np.linspace(0, len(affected) - 1, min(N_KEY_SLICES, len(affected)))
    return [int(affected[round(place)]) for place in places[::-1]]


def _capture(analysis: Analysis, index: int, number: int, origin: Origin) -> SCImage:
    plane = cut_transverse(analysis, index)
    picture = draw(plane, contours=True)
    source = _source_image(analysis, index)
    _caption(picture, source, analysis)
    capture = SCImage(
        pixel_array=np.asarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        pixel_spacing=(1 / PIXELS_PER_MM, 1 / PIXELS_PER_MM),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        study_instance_uid=origin.study_uid,
        **origin.identity("captures", SERIES, "Key slices (AI, research use only)", number),
    )
    capture.BodyPartExamined = "CHEST"
    capture.BurnedInAnnotation = "NO"
    capture.DerivationDescription = "Lung window, contours of lungs (blue) and infectious opacities (orange)"
    if source is not None and can_refer_to(analysis.chest):
        capture.SourceImageSequence = [_reference(source)]
    if source is not None:
        capture.LossyImageCompression = "01" if source.is_lossy else "00"
    finish(capture, origin)
    return capture


def _source_image(analysis: Analysis, index: int) -> SliceHeader | None:
    """Return the stored image of a canonical slice; None if slices were resampled or are not transverse."""
    images = analysis.chest.source.images
    shape = analysis.chest.volume.volume_hu.shape
    slice_numbers: npt.NDArray[np.intp] = np.broadcast_to(np.arange(shape[0])[:, None, None], shape)
    stored = from_canonical(slice_numbers, analysis.chest.source)[:, 0, 0]
    places = np.flatnonzero(stored == index)
    return images[int(places[0])] if images and len(places) == 1 else None


def _caption(picture: Image.Image, source: SliceHeader | None, analysis: Analysis) -> None:
    """Write the origin of the picture, and below it whatever forbids to trust it."""
    pen = ImageDraw.Draw(picture)
    size = picture.height // 32
    text = f"Research use only - {APPLICATION} {lungct.__version__}"
    if source is not None and source.sop_class_uid != CTImageStorage:
        text += f" - frame {source.frame + 1}"
    elif source is not None and source.instance_number is not None:
        text += f" - image {source.instance_number}"
    pen.text((size // 2, size // 2), text, anchor="lt", font_size=size, **READABLE)
    raised = {flag.code for flag in analysis.findings.flags}
    outside_method = analysis.chest.selection.outside_method
    severe = [code for code in SEVERE_FLAGS if code in raised and not outside_method.startswith(code)]
    for line, warning in enumerate([*filter(None, (outside_method,)), *severe], start=1):
        top = size // 2 + round(line * LINE_HEIGHT * size)
        pen.text((size // 2, top), warning, anchor="lt", font_size=size, **READABLE)


def _reference(source: SliceHeader) -> Dataset:
    item = make_reference(source.sop_class_uid, source.sop_instance_uid)
    if source.sop_class_uid != CTImageStorage:
        item.ReferencedFrameNumber = source.frame + 1
    item.PurposeOfReferenceCodeSequence = [
        CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    ]
    return item
