"""CT Image and Enhanced CT Image data sets (PS3.3 A.3, A.38) with native little-endian pixels.

Attributes are written as dictionaries by keyword; a dictionary as a value is a sequence of one item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from lungct_research.synthesis.phantom.study_options import Orientation, StudyOptions

Stored = npt.NDArray[np.integer]
Matrix = npt.NDArray[np.float64]
Attributes = dict[str, Any]

_TIME = "120000"
_PATIENT_POSITIONS = {Orientation.FEET_FIRST_SUPINE: "FFS", Orientation.PRONE: "HFP"}

_PIXEL_MEANING = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
}

_ACQUISITION: Attributes = {
    "CTAcquisitionTypeSequence": {
        "AcquisitionType": "SPIRAL",
        "ConstantVolumeFlag": "NO",
        "FluoroscopyFlag": "NO",
    },
    "CTAcquisitionDetailsSequence": {
        "RotationDirection": "CW",
        "RevolutionTime": 0.5,
        "SingleCollimationWidth": 0.625,
        "TotalCollimationWidth": 40.0,
        "TableHeight": "0",
        "GantryDetectorTilt": "0",
        "DataCollectionDiameter": "500",
    },
    "CTTableDynamicsSequence": {"TableSpeed": 80.0, "TableFeedPerRotation": 40.0, "SpiralPitchFactor": 1.0},
    "CTPositionSequence": {
        "DataCollectionCenterPatient": [0.0, 0.0, 0.0],
        "ReconstructionTargetCenterPatient": [0.0, 0.0, 0.0],
        "TablePosition": 0.0,
    },
    "CTGeometrySequence": {"DistanceSourceToDetector": "950", "DistanceSourceToDataCollectionCenter": 540.0},
    "CTExposureSequence": {
        "ExposureTimeInms": 500.0,
        "XRayTubeCurrentInmA": 100.0,
        "ExposureInmAs": 50.0,
        "ExposureModulationType": "NONE",
        "CTDIvol": 3.0,
    },
    "CTXRayDetailsSequence": {
        "KVP": "120",
        "FocalSpots": "0.7",
        "FilterType": "FLAT",
        "FilterMaterial": "ALUMINUM",
    },
}
"""Groups that Enhanced CT demands of original images; the phantom's scanner is made up."""


def single_images(stored: Stored, affine_lps: Matrix, options: StudyOptions) -> list[Dataset]:
    """Return one CT Image a frame, in the order of Instance Number.

    Args:
        stored: ``[frames, rows, columns]``, stored values.
        affine_lps: indices (frame, row, column, 1) to LPS millimetres.
        options: attributes of patient, study, series and equipment.
    """
    common = {
        **_measures(affine_lps, options),
        **_rescale(options),
        "ConvolutionKernel": options.kernel,
        "KVP": "120",
    }
    return [
        _image(CTImageStorage, number, stored[frame], options, {**_plane(affine_lps, frame), **common})
        for number, frame in _numbered(stored, options)
    ]


def enhanced_image(stored: Stored, affine_lps: Matrix, options: StudyOptions) -> list[Dataset]:
    """Return all frames as one Enhanced CT Image, in a list; arguments as for ``single_images``."""
    numbered = _numbered(stored, options)
    content = {
        **_enhanced_constants(options),
        "NumberOfFrames": len(stored),
        "SharedFunctionalGroupsSequence": _shared_groups(affine_lps, stored.shape, options),
        "PerFrameFunctionalGroupsSequence": [
            _frame_groups(affine_lps, frame, number, options) for number, frame in numbered
        ],
    }
    frames = stored[[frame for _, frame in numbered]]
    return [_image(EnhancedCTImageStorage, 1, frames, options, content)]


def _numbered(stored: Stored, options: StudyOptions) -> list[tuple[int, int]]:
    """Return Instance Number and index of every frame."""
    order = range(len(stored))
    return list(enumerate(reversed(order) if options.reversed_files else order, start=1))


def _image(
    sop_class: str, number: int, pixels: Stored, options: StudyOptions, specific: Attributes
) -> Dataset:
    """Return an image with all that both kinds of image share, and what is specific to one."""
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


def _patient_and_study(options: StudyOptions) -> Attributes:
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


def _series(options: StudyOptions) -> Attributes:
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


def _pixel_module(pixels: Stored, options: StudyOptions) -> Attributes:
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


def _plane(affine_lps: Matrix, frame: int) -> Attributes:
    position = affine_lps @ (frame, 0, 0, 1)
    row, column = (affine_lps[:3, axis] / np.linalg.norm(affine_lps[:3, axis]) for axis in (2, 1))
    return {
        "ImagePositionPatient": _decimals(position[:3]),
        "ImageOrientationPatient": _decimals([*row, *column]),
    }


def _measures(affine_lps: Matrix, options: StudyOptions) -> Attributes:
    spacing_mm = np.linalg.norm(affine_lps[:3, :3], axis=0)
    return {
        "PixelSpacing": _decimals(spacing_mm[1:]),
        "SliceThickness": options.slice_thickness_mm or _decimals(spacing_mm[:1])[0],
    }


def _rescale(options: StudyOptions) -> Attributes:
    return {
        "RescaleIntercept": options.rescale_intercept,
        "RescaleSlope": options.rescale_slope,
        "RescaleType": "HU",
    }


def _frame_groups(affine_lps: Matrix, frame: int, number: int, options: StudyOptions) -> Attributes:
    return {
        "FrameContentSequence": {
            "StackID": "1",
            "InStackPositionNumber": number,
            "DimensionIndexValues": [1, number],
            "FrameReferenceDateTime": options.study_date + _TIME,
            "FrameAcquisitionDateTime": options.study_date + _TIME,
            "FrameAcquisitionDuration": 500.0,
        },
        "PlanePositionSequence": {"ImagePositionPatient": _plane(affine_lps, frame)["ImagePositionPatient"]},
    }


def _shared_groups(affine_lps: Matrix, shape: tuple[int, ...], options: StudyOptions) -> Attributes:
    plane, measures = _plane(affine_lps, 0), _measures(affine_lps, options)
    chest = {"CodeValue": "51185008", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Chest"}
    return {
        "PixelMeasuresSequence": measures,
        "PlaneOrientationSequence": {"ImageOrientationPatient": plane["ImageOrientationPatient"]},
        "FrameAnatomySequence": {"FrameLaterality": "U", "AnatomicRegionSequence": chest},
        "PixelValueTransformationSequence": _rescale(options),
        "CTReconstructionSequence": {
            "ReconstructionAlgorithm": "FILTER_BACK_PROJ",
            "ConvolutionKernel": options.kernel,
            "ConvolutionKernelGroup": "LUNG",
            "ReconstructionFieldOfView": [
                float(shape[axis] * np.linalg.norm(affine_lps[:3, axis])) for axis in (2, 1)
            ],
            "ReconstructionPixelSpacing": [float(value) for value in measures["PixelSpacing"]],
            "ReconstructionAngle": 360.0,
            "ImageFilter": "NONE",
        },
        "IrradiationEventIdentificationSequence": {"IrradiationEventUID": _uid(options, "irradiation")},
        "CTImageFrameTypeSequence": {"FrameType": _frame_type(options), **_PIXEL_MEANING},
        **_ACQUISITION,
    }


def _frame_type(options: StudyOptions) -> list[str]:
    """Return Image Type with the four values that Enhanced CT always has."""
    return [*options.image_type, "NONE", "NONE"][:4]


def _enhanced_constants(options: StudyOptions) -> Attributes:
    organization = {"DimensionOrganizationUID": _uid(options, "dimensions", options.series_number)}
    return {
        "ImageType": _frame_type(options),
        **_PIXEL_MEANING,
        "AcquisitionDuration": 4.0,
        "AcquisitionDateTime": options.study_date + _TIME,
        "ContentQualification": "RESEARCH",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY",
        "AcquisitionContextSequence": [],
        "DimensionOrganizationSequence": organization,
        "DimensionIndexSequence": [
            {
                "DimensionIndexPointer": keyword,
                "FunctionalGroupPointer": "FrameContentSequence",
                "DimensionDescriptionLabel": label,
                **organization,
            }
            for keyword, label in (("StackID", "Stack"), ("InStackPositionNumber", "Position"))
        ],
    }


def _uid(options: StudyOptions, *parts: object) -> str:
    """Return a UID that depends on seed and parts alone."""
    return generate_uid(entropy_srcs=[str(options.seed), *map(str, parts)])


def _dataset(attributes: Attributes) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        if keyword.endswith("Sequence"):
            items = [value] if isinstance(value, dict) else value
            value = [_dataset(item) for item in items]  # noqa: PLW2901
        setattr(dataset, keyword, value)
    return dataset


def _decimals(values: Sequence[float] | Matrix) -> list[str]:
    """Return Decimal Strings of at most 16 characters."""
    return [f"{value + 0.0:.10g}" if abs(value) >= 1e-9 else "0" for value in values]
