"""The networks of an analysis: verified before anything else, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungct.errors import ModelError
from lungct.file_names import packaged_models
from lungct.networks.models import verify_models
from lungct.settings import Settings

ON_CPU = Settings(device="cpu")


def test_missing_weights_are_named_before_any_network_is_built(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"classifier/model\.json"):
        verify_models(tmp_path, ON_CPU)


def test_a_network_is_built_once_and_kept() -> None:
    models = verify_models(packaged_models(), ON_CPU)
    assert models.classifier is models.classifier


def test_lungmask_takes_the_place_of_the_own_network() -> None:
    with pytest.raises(ModelError, match="lungmask"):
        verify_models(packaged_models(), Settings(device="cpu", lobe_segmenter="lungmask"))
