"""The adapter of lungmask, with the real package and weights that call everything right upper lobe."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lungmask.resunet import UNet

from lungct.anatomy.lungs import segment_lobes
from lungct.errors import ModelError, NoLungError
from lungct.networks.lungmask import FOLDER, WEIGHTS_FILE, load_lungmask
from lungct.records import CtVolume, Lobe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    network = UNet(n_classes=6, padding=True, depth=5, up_mode="upsample", batch_norm=True, residual=False)
    network.last.weight.data.zero_()
    network.last.bias.data.zero_()
    network.last.bias.data[Lobe.RIGHT_UPPER.label] = 10
    (folder / FOLDER).mkdir()
    torch.save(network.state_dict(), folder / FOLDER / WEIGHTS_FILE)
    return folder


def chest(inside_hu: int) -> CtVolume:
    volume_hu = np.full((4, 64, 80), -1000, np.int16)
    volume_hu[:, 8:-8, 8:-8] = 40
    volume_hu[:, 16:-16, 16:-16] = inside_hu
    return CtVolume(volume_hu, np.diag([5.0, 5.0, 5.0, 1.0])[[2, 1, 0, 3]])


def test_labels_lie_on_the_grid_of_the_volume_and_the_weights_are_named(models_dir: Path) -> None:
    volume = chest(-850)
    found = segment_lobes(volume, load_lungmask(models_dir, CPU))
    assert found.lobes.shape == volume.volume_hu.shape
    assert found.lobes.dtype == np.uint8
    assert (found.lobes[:, 20:-20, 20:-20] == Lobe.RIGHT_UPPER.label).all()
    assert found.model.name == "lungmask"
    assert found.model.provisional
    assert not found.confidence


def test_volume_without_air_is_refused(models_dir: Path) -> None:
    with pytest.raises(NoLungError, match="no lungs found"):
        segment_lobes(chest(40), load_lungmask(models_dir, CPU))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{FOLDER}/{WEIGHTS_FILE} is missing"):
        load_lungmask(tmp_path, CPU)


def test_missing_package_is_named(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lungmask", None)
    with pytest.raises(ModelError, match="pip install lungmask"):
        load_lungmask(models_dir, CPU)
