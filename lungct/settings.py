"""Typed, validated view of the ``lungct`` section of app.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from lungct.errors import SettingsError

SECTION = "lungct"

Language = Literal["en", "de", "fr", "es", "nl", "it"]
Paper = Literal["A4", "Letter"]
LobeSegmenter = Literal["own", "lungmask"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SelectionLimits(_Section):
    """Conditions that a series must satisfy to be analysed.

    Thickness and age are the paper's (Topff et al. 2023); the others are our own (ADR 0015).

    Attributes:
        max_slice_thickness_mm: for Slice Thickness and for the distance between slices alike.
        recommended_slice_thickness_mm: series up to here rank first.
        min_age_years: where the age is known.
        min_slices: fewer cannot hold a chest at 3 mm.
        min_extent_mm: from the first to the last slice; shorter than the lungs of any adult.
        max_tilt_deg: of the slices off the axial plane; gantries tilt by up to 30 degrees.
    """

    max_slice_thickness_mm: PositiveFloat = 3.0
    recommended_slice_thickness_mm: PositiveFloat = 1.5
    min_age_years: NonNegativeFloat = 18.0
    min_slices: PositiveInt = 30
    min_extent_mm: NonNegativeFloat = 150.0
    max_tilt_deg: NonNegativeFloat = 31.0


class DicomSettings(_Section):
    """Choice of DICOM objects and storage of the masks.

    Attributes:
        segmentations: needed by the structured report, which refers to them.
        compression: ``rle`` and ``jpeg_ls`` need ``labelmap``: there is no such code for single bits.
        omit_empty_frames: leave out frames in which a segment has no voxel.
    """

    segmentations: bool = True
    structured_report: bool = True
    encapsulated_pdf: bool = True
    secondary_captures: bool = True
    segmentation_type: Literal["binary", "labelmap"] = "binary"
    compression: Literal["none", "deflate", "rle", "jpeg_ls"] = "none"
    omit_empty_frames: bool = True

    @model_validator(mode="after")
    def _check_combination(self) -> DicomSettings:
        if self.structured_report and not self.segmentations:
            raise ValueError("structured_report needs segmentations: true")
        if self.segmentation_type == "binary" and self.compression in ("rle", "jpeg_ls"):
            raise ValueError(f"compression {self.compression} needs segmentation_type: labelmap")
        return self


class OutputSettings(_Section):
    """Choice of the files beside ``result.json``."""

    language: Language = "en"
    paper: Paper = "A4"
    airways_vessels: bool = True
    label_maps: bool = True
    report_pdf: bool = True
    report_html: bool = True
    dicom: DicomSettings = Field(default_factory=DicomSettings)

    def without_dicom(self) -> OutputSettings:
        """Return the same settings with every DICOM object left out."""
        none = DicomSettings(
            segmentations=False, structured_report=False, encapsulated_pdf=False, secondary_captures=False
        )
        return self.model_copy(update={"dicom": none})


class Settings(_Section):
    """Every setting of the pipeline; ``lungmask`` works where a site has installed it and its weights."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    lobe_segmenter: LobeSegmenter = "own"
    selection: SelectionLimits = Field(default_factory=SelectionLimits)
    outputs: OutputSettings = Field(default_factory=OutputSettings)


def read_settings(path: Path) -> Settings:
    """Read the settings of an app.yaml; what it leaves out has its default.

    Raises:
        SettingsError: the file is missing, is not YAML, or holds an unknown key or a wrong value.
    """
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return Settings.model_validate(content.get(SECTION) or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([SECTION, *map(str, first["loc"])])
        raise SettingsError(f"{path.name}: {key}: {first['msg']}; correct this setting") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise SettingsError(f"{path.name} cannot be read as YAML settings: restore the file") from error
