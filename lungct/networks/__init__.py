"""The three networks; their weights live in ``models/<name>/``."""

from lungct.networks.classifier3d import Classifier3d
from lungct.networks.lobe_unet import LobeUNet
from lungct.networks.opacity_unet import opacity_unet

__all__ = ["Classifier3d", "LobeUNet", "opacity_unet"]
