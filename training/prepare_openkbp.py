"""Makes a labelled pool and a test set from a folder of OpenKBP scans with a ``splits.json``.

The folder holds ``images/``, ``labels/`` and ``splits.json``, whose lists ``labelled``, ``unlabelled``,
``validation`` and ``development_test`` name the cases. Labels of unlabelled cases are left behind: they are partial
clinical contours. Test cases never enter the pool.

    python training/prepare_openkbp.py OPENKBP_FOLDER OUT
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

try:
    import skcdf  # noqa: F401
except ImportError:  # run from the source tree
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

from skcdf.commands.console import ConsoleProgress
from skcdf.errors import SkcdfError
from skcdf.image import read_image, read_label_map
from skcdf.labels import LabelSet
from skcdf.pool import create_pool
from skcdf.progress import Progress


def main() -> int:
    """Makes ``OUT/pool`` and ``OUT/test``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="OPENKBP_FOLDER")
    parser.add_argument("output", type=Path, metavar="OUT")
    options = parser.parse_args()
    try:
        prepare(options.source, options.output)
    except SkcdfError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def prepare(source: Path, output: Path) -> None:
    """Reads ``source``, writes ``output/pool`` and ``output/test``.

    Raises:
        SkcdfError: a file is missing or cannot be read, or ``output/pool`` is there already.
    """
    try:
        splits = json.loads((source / "splits.json").read_text())
    except (OSError, ValueError) as error:
        raise SkcdfError(f"{source}: splits.json cannot be read ({error}).", "Check the folder.") from error
    pool = create_pool(output / "pool", LabelSet.load("openkbp7"), "CT")
    cases = [(name, kind) for kind in ("labelled", "validation", "unlabelled") for name in splits[kind]]
    progress = ConsoleProgress()
    for index, (name, kind) in enumerate(cases):
        label = None if kind == "unlabelled" else read_label_map(source / "labels" / f"{name}.nii.gz")
        split = "validation" if kind == "validation" else "training"
        pool.add_case(
            name, read_image(source / "images" / f"{name}.nii.gz"), label, subject=name, split=split
        )
        progress(Progress("add cases", index + 1, len(cases)))
    for kind in ("images", "labels"):
        (output / "test" / kind).mkdir(parents=True, exist_ok=True)
        for name in splits["development_test"]:
            shutil.copyfile(source / kind / f"{name}.nii.gz", output / "test" / kind / f"{name}.nii.gz")
    print(f"{output}: {len(cases)} cases in pool, {len(splits['development_test'])} in test")


if __name__ == "__main__":
    sys.exit(main())
