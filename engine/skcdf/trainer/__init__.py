"""Training: settings, data, augmentation, schedule, checkpoints and the loop."""

from .config import TrainingConfig
from .data import TrainingVolume, load_volume
from .export import export_bundle
from .trainer import Trainer
from .volume_cache import VolumeCache

__all__ = ["Trainer", "TrainingConfig", "TrainingVolume", "VolumeCache", "export_bundle", "load_volume"]
