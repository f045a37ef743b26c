"""Acquisition attributes that Enhanced CT demands of original images; the phantom's scanner is made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PIXEL_MEANING = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
}

ACQUISITION_GROUPS: Mapping[str, Mapping[str, Any]] = {
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

RECONSTRUCTION = {
    "ReconstructionAlgorithm": "FILTER_BACK_PROJ",
    "ConvolutionKernelGroup": "LUNG",
    "ReconstructionAngle": 360.0,
    "ImageFilter": "NONE",
}
