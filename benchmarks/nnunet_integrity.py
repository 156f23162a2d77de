"""Lets nnU-Net v2 check a pool by its own ``verify_dataset_integrity``, as its planning does before a training.

The pool has gone through all that a pool goes through: cases labelled in full and in part, validation cases, an
unlabelled case that was corrected, one that was corrected twice, one that was withdrawn, and a label that came later.
Then the cases that nnU-Net would train on are compared with those that it should.

    python benchmarks/nnunet_integrity.py
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from program import run
from skcdf.image import Image
from skcdf.labels import LabelSet
from skcdf.phantom import PHANTOM_LABELS, make_phantom
from skcdf.pool import LabelledPool

SHAPE, SPACING = (40, 60, 70), (6.0, 6.0, 6.0)


def phantom(seed: int) -> tuple[Image, Image]:
    """A small synthetic scan and its organs."""
    return make_phantom(seed, shape=SHAPE, spacing=SPACING)


def make_pool(root: Path) -> LabelledPool:
    """A pool with every kind of case; five are fully annotated and for training."""
    organs = LabelSet.load(PHANTOM_LABELS)
    pool = LabelledPool.create(root, LabelSet.from_names("phantom12", organs.names[:-1]), "CT")
    pool.extend_labels(organs)
    for seed in range(5):  # the third validates
        pool.add_case(f"full_{seed}", *phantom(seed), subject=f"phantom {seed}")
    pool.add_case("part", phantom(5)[0], first_organ(5), subject="phantom 5", annotated=[organs.names[0]])
    for seed in (6, 7, 8):
        pool.add_case(f"bare_{seed}", phantom(seed)[0], None, subject=f"phantom {seed}")
    pool.revise("bare_6", phantom(6)[1], model="phantom13 v1", proposal=phantom(6)[1])
    pool.revise("bare_7", first_organ(7), annotated=[organs.names[0]])
    pool.revise("bare_7", phantom(7)[1], annotated=organs.names)
    pool.withdraw("full_4")
    return pool


def first_organ(seed: int) -> Image:
    """The label map of a phantom with its first organ alone."""
    labels = phantom(seed)[1]
    return Image((labels.array == 1).astype("uint8"), labels.geometry)


def main() -> int:
    """Makes the pool, has it checked, and says what nnU-Net would train on."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "nnUNet_raw" / "Dataset001_Phantom"
        os.environ |= {
            name: str(Path(folder) / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        }
        make_pool(root)
        from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
        from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

        verify_dataset_integrity(str(root), num_processes=2)
        cases = sorted(get_filenames_of_train_images_and_targets(str(root)))
        expected = ["bare_6", "bare_7", "full_0", "full_1", "full_3"]
        print(f"nnU-Net trains on {', '.join(cases)}")
        shutil.rmtree(root / "labelsTr")
        try:
            verify_dataset_integrity(str(root), num_processes=2)
        except (
            Exception
        ) as error:  # whatever it raises: a check that passes without label maps checks nothing
            print(f"without label maps it says: {str(error).splitlines()[0][:80]}")
        else:
            return 1
        return int(cases != expected)


if __name__ == "__main__":
    run(main)
