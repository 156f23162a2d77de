"""The weights of the best validation so far, which change together with the checkpoint that names that validation.

Two files cannot be replaced in one instant. New weights first lie beside the old ones under their iteration's name;
only after the checkpoint that names them do they take the old ones' place. Killed anywhere, the file is found that
belongs to what the checkpoint says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import SkcdfError
from ..files import atomic_write, replace
from ..weights import read_weights, write_weights

FILE_NAME = "best.safetensors"


@dataclass(frozen=True)
class BestWeights:
    """The best weights in a run's folder.

    Attributes:
        run_folder: the folder.
    """

    run_folder: Path

    def file(self, iteration: int | None) -> Path:
        """Where the weights of the validation after ``iteration`` lie, when the checkpoint calls it the best."""
        early = self._early(iteration)
        return early if early.exists() else self.run_folder / FILE_NAME

    def read(self, iteration: int) -> dict[str, Tensor]:
        """The weights after ``iteration``.

        Raises:
            SkcdfError: they are gone, or damaged.
        """
        file = self.file(iteration)
        if not file.is_file():
            raise SkcdfError(
                f"{file}: the best weights of this run are gone.",
                "Restore the file, or train anew in another folder.",
            )
        return read_weights(file)

    def write(self, iteration: int, weights: Mapping[str, Tensor]) -> None:
        """Writes new best weights; a checkpoint must follow, and then `settle`.

        Raises:
            SkcdfError: the disk is full, or a weight is not a number.
        """
        early = self._early(iteration)
        with atomic_write(early) as temporary:
            write_weights(temporary, weights, shown_as=early)

    def settle(self, iteration: int) -> None:
        """After the checkpoint that names ``iteration``: its weights take the place of those before."""
        early = self._early(iteration)
        if early.exists():
            replace(early, self.run_folder / FILE_NAME)
        for leftover in self.run_folder.glob("best-*.safetensors"):
            leftover.unlink(missing_ok=True)

    def _early(self, iteration: int | None) -> Path:
        return self.run_folder / f"best-{iteration}.safetensors"
