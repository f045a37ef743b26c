"""CT Image and Enhanced CT Image data sets (PS3.3 A.3, A.38) with native little-endian pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from lungct_research.synthesis.phantom.enhanced_ct import ACQUISITION_GROUPS, PIXEL_MEANING, RECONSTRUCTION
from lungct_research.synthesis.phantom.study_options import Orientation, StudyOptions

Stored = npt.NDArray[np.integer]
Matrix = npt.NDArray[np.float64]

_TIME = "120000"
_PATIENT_POSITIONS = {Orientation.FEET_FIRST_SUPINE: "FFS", Orientation.PRONE: "HFP"}


def single_images(stored: Stored, affine_lps: Matrix, options: StudyOptions) -> list[Dataset]:
    """One CT Image a frame, in the order of Instance Number.

    Args:
        stored: ``[frames, rows, columns]``, stored values.
        affine_lps: indices (frame, row, column, 1) to LPS millimetres.
        options: attributes of patient, study, series and equipment.
    """
    order = range(len(stored))
    return [
        _image(
            CTImageStorage,
            number,
            stored[frame],
            options,
            {
                **_plane(affine_lps, frame),
                **_measures(affine_lps, options),
                "ConvolutionKernel": options.kernel,
                "KVP": "120",
                "RescaleIntercept": options.rescale_intercept,
                "RescaleSlope": options.rescale_slope,
                "RescaleType": "HU",
            },
        )
        for number, frame in enumerate(reversed(order) if options.reversed_files else order, start=1)
    ]


def enhanced_image(stored: Stored, affine_lps: Matrix, options: StudyOptions) -> list[Dataset]:
    """All frames as one Enhanced CT Image, in a list; arguments as for ``single_images``."""
    order = np.arange(len(stored))[:: -1 if options.reversed_files else 1]
    frames = [
        _items(_frame_groups(affine_lps, int(frame), number, options))
        for number, frame in enumerate(order, 1)
    ]
    content = {
        "NumberOfFrames": len(order),
        "SharedFunctionalGroupsSequence": [_items(_shared_groups(affine_lps, stored.shape, options))],
        "PerFrameFunctionalGroupsSequence": frames,
        **_enhanced_constants(options),
    }
    return [_image(EnhancedCTImageStorage, 1, stored[order], options, content)]


def _image(
    sop_class: str, number: int, pixels: Stored, options: StudyOptions, specific: Mapping[str, Any]
) -> Dataset:
    """Everything both kinds of image share, and what is specific to one."""
    image = _dataset(
        {
            "SOPClassUID": sop_class,
            "SOPInstanceUID": _uid(options, "image", options.series_number, number),
            **_patient_and_study(options),
            **_series(options),
            "InstanceNumber": number,
            "ImageType": list(options.image_type),
            "AcquisitionNumber": 1,
            "AcquisitionDate": options.study_date,
            "AcquisitionTime": _TIME,
            "ContentDate": options.study_date,
            "ContentTime": _TIME,
            **_pixel_module(pixels, options),
            **specific,
        }
    )
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _patient_and_study(options: StudyOptions) -> dict[str, Any]:
    age = options.patient_age_years
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": options.patient_name,
        "PatientID": options.patient_id,
        "PatientBirthDate": options.patient_birth_date,
        "PatientSex": options.patient_sex,
        **({} if age is None else {"PatientAge": f"{age:03d}Y"}),
        "StudyInstanceUID": _uid(options, "study"),
        "StudyDate": options.study_date,
        "StudyTime": _TIME,
        "StudyID": "1",
        "StudyDescription": options.study_description,
        "AccessionNumber": options.accession_number,
        "ReferringPhysicianName": "",
    }


def _series(options: StudyOptions) -> dict[str, Any]:
    return {
        "Modality": "CT",
        "SeriesInstanceUID": _uid(options, "series", options.series_number),
        "SeriesNumber": options.series_number,
        "SeriesDate": options.study_date,
        "SeriesTime": _TIME,
        "BodyPartExamined": options.body_part,
        "PatientPosition": _PATIENT_POSITIONS.get(options.orientation, "HFS"),
        "FrameOfReferenceUID": _uid(options, "frame of reference"),
        "PositionReferenceIndicator": "",
        "Manufacturer": options.manufacturer,
        "ManufacturerModelName": "Phantom",
        "DeviceSerialNumber": "0",
        "SoftwareVersions": "1",
        "InstitutionName": options.institution,
    }


def _pixel_module(pixels: Stored, options: StudyOptions) -> dict[str, Any]:
    padding = options.padding_value
    return {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "BitsAllocated": 16,
        "BitsStored": options.bits_stored,
        "HighBit": options.bits_stored - 1,
        "PixelRepresentation": int(options.signed),
        **({} if padding is None else {"PixelPaddingValue": padding}),
        "PixelData": pixels.tobytes(),
    }


def _plane(affine_lps: Matrix, frame: int) -> dict[str, Any]:
    position = affine_lps @ (frame, 0, 0, 1)
    row, column = (affine_lps[:3, axis] / np.linalg.norm(affine_lps[:3, axis]) for axis in (2, 1))
    return {
        "ImagePositionPatient": _decimals(position[:3]),
        "ImageOrientationPatient": _decimals([*row, *column]),
    }


def _measures(affine_lps: Matrix, options: StudyOptions) -> dict[str, Any]:
    spacing_mm = np.linalg.norm(affine_lps[:3, :3], axis=0)
    return {
        "PixelSpacing": _decimals(spacing_mm[1:]),
        "SliceThickness": options.slice_thickness_mm or _decimals(spacing_mm[:1])[0],
    }


def _frame_groups(
    affine_lps: Matrix, frame: int, number: int, options: StudyOptions
) -> dict[str, Mapping[str, Any]]:
    plane = _plane(affine_lps, frame)
    return {
        "FrameContentSequence": {
            "StackID": "1",
            "InStackPositionNumber": number,
            "DimensionIndexValues": [1, number],
            "FrameReferenceDateTime": options.study_date + _TIME,
            "FrameAcquisitionDateTime": options.study_date + _TIME,
            "FrameAcquisitionDuration": 500.0,
        },
        "PlanePositionSequence": {"ImagePositionPatient": plane["ImagePositionPatient"]},
    }


def _shared_groups(
    affine_lps: Matrix, shape: tuple[int, ...], options: StudyOptions
) -> dict[str, Mapping[str, Any]]:
    plane, measures = _plane(affine_lps, 0), _measures(affine_lps, options)
    width_mm, height_mm = (float(shape[axis] * np.linalg.norm(affine_lps[:3, axis])) for axis in (2, 1))
    return {
        "PixelMeasuresSequence": measures,
        "PlaneOrientationSequence": {"ImageOrientationPatient": plane["ImageOrientationPatient"]},
        "FrameAnatomySequence": {
            "FrameLaterality": "U",
            "AnatomicRegionSequence": [_code("51185008", "SCT", "Chest")],
        },
        "PixelValueTransformationSequence": {
            "RescaleIntercept": options.rescale_intercept,
            "RescaleSlope": options.rescale_slope,
            "RescaleType": "HU",
        },
        "CTReconstructionSequence": {
            **RECONSTRUCTION,
            "ConvolutionKernel": options.kernel,
            "ReconstructionFieldOfView": [width_mm, height_mm],
            "ReconstructionPixelSpacing": [float(value) for value in measures["PixelSpacing"]],
        },
        "IrradiationEventIdentificationSequence": {"IrradiationEventUID": _uid(options, "irradiation")},
        **ACQUISITION_GROUPS,
        "CTImageFrameTypeSequence": {"FrameType": _frame_type(options), **PIXEL_MEANING},
    }


def _frame_type(options: StudyOptions) -> list[str]:
    """Image Type of Enhanced CT always has four values."""
    return [*options.image_type, "NONE", "NONE"][:4]


def _enhanced_constants(options: StudyOptions) -> dict[str, Any]:
    organization = _uid(options, "dimensions", options.series_number)
    pointers = (("StackID", "Stack"), ("InStackPositionNumber", "Position"))
    return {
        "ImageType": _frame_type(options),
        **PIXEL_MEANING,
        "AcquisitionDuration": 4.0,
        "AcquisitionDateTime": options.study_date + _TIME,
        "ContentQualification": "RESEARCH",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY",
        "AcquisitionContextSequence": [],
        "DimensionOrganizationSequence": [_dataset({"DimensionOrganizationUID": organization})],
        "DimensionIndexSequence": [
            _dataset(
                {
                    "DimensionIndexPointer": keyword,
                    "FunctionalGroupPointer": "FrameContentSequence",
                    "DimensionOrganizationUID": organization,
                    "DimensionDescriptionLabel": label,
                }
            )
            for keyword, label in pointers
        ],
    }


def _uid(options: StudyOptions, *parts: object) -> str:
    """The same UID for the same seed and parts."""
    return generate_uid(entropy_srcs=[str(options.seed), *map(str, parts)])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _dataset({"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning})


def _items(groups: Mapping[str, Mapping[str, Any]]) -> Dataset:
    """A functional group item: each group a sequence of one item."""
    return _dataset({keyword: [_dataset(values)] for keyword, values in groups.items()})


def _dataset(attributes: Mapping[str, Any]) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _decimals(values: Sequence[float] | Matrix) -> list[str]:
    """Decimal Strings of at most 16 characters."""
    return [f"{value + 0.0:.10g}" if abs(value) >= 1e-9 else "0" for value in values]
