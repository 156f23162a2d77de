"""Runs one of nnU-Net v2's commands in its own environment; needs ``nnunetv2``, nothing of this project.

    NNUNET_EPOCHS=100 PYTHON nnunet_child.py nnUNetv2_train 801 3d_fullres 0 --c

Everything is nnU-Net's own. What is set, by ``NNUNET_EPOCHS`` and ``NNUNET_STEPS``, is the number of its trainer's
epochs and of steps in each (250 by default, and a fifth of it in validation), and that it writes a checkpoint more
often.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import entry_points
from typing import Any

SAVE_EVERY = 2
"""Epochs between checkpoints: a call that ends early loses no more."""


def set_length() -> None:
    """Gives nnU-Net's trainer its number of epochs before it makes its learning rate's schedule from it."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    initialize = nnUNetTrainer.initialize

    def with_length(self: Any) -> None:
        self.num_epochs = int(os.environ["NNUNET_EPOCHS"])
        steps = int(os.environ.get("NNUNET_STEPS", self.num_iterations_per_epoch))
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = steps, max(1, steps // 5)
        self.save_every = SAVE_EVERY
        initialize(self)

    nnUNetTrainer.initialize = with_length


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs inherit that it is ignored
    sys.argv = sys.argv[1:]
    try:
        if sys.argv[0] == "nnUNetv2_train":
            set_length()
        (command,) = entry_points(group="console_scripts", name=sys.argv[0])
        command.load()()
    except KeyboardInterrupt:
        sys.exit(130)
