"""app.yaml is validated before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungct.errors import SettingsError
from lungct.settings import Settings, read_settings

APP_YAML = Path(__file__).parents[2] / "app.yaml"


def test_shipped_settings_are_the_defaults() -> None:
    assert read_settings(APP_YAML) == Settings()


def test_missing_section_means_defaults(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("application: {}")
    assert read_settings(tmp_path / "app.yaml") == Settings()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lungct: {device: gpu}", "lungct.device"),
        ("lungct: {outputs: {label_map: true}}", "lungct.outputs.label_map"),
        ("lungct: {selection: {min_slices: many}}", "lungct.selection.min_slices"),
        ("lungct: {selection: {unknown: 1}}", "lungct.selection.unknown"),
        ("lungct: {outputs: {dicom: {segmentations: false}}}", "structured_report needs segmentations: true"),
        ("lungct: {outputs: {dicom: {compression: rle}}}", "rle needs segmentation_type: labelmap"),
        ("lungct: [", "app.yaml"),
        ("lungct", "app.yaml"),
    ],
)
@pytest.mark.fault("models", "`{text}`", "exit code 2, names the key or the file")
def test_wrong_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "app.yaml").write_text(text)
    with pytest.raises(SettingsError, match=named):
        read_settings(tmp_path / "app.yaml")


@pytest.mark.fault("models", "`app.yaml` in another encoding", "exit code 2")
def test_other_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_bytes("lungct: # Übersicht".encode("latin-1"))
    with pytest.raises(SettingsError, match="app.yaml cannot be read"):
        read_settings(tmp_path / "app.yaml")


@pytest.mark.fault("models", "Settings file that does not exist", "exit code 2")
def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="app.yaml"):
        read_settings(tmp_path / "app.yaml")
