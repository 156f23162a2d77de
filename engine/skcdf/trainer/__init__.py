"""Training: settings, data, augmentation, schedule, checkpoints and the loop."""

from .config import TrainingConfig
from .data import TrainingVolume, load_volume
from .trainer import Trainer

__all__ = ["Trainer", "TrainingConfig", "TrainingVolume", "load_volume"]
