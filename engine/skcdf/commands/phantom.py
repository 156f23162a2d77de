"""``skcdf phantom``: synthetic scans, alone or as a labelled pool."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SkcdfError

if TYPE_CHECKING:
    from ..image import Image

SCAN_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
SUMMARY = "Make synthetic abdominal CT scans with exact labels: a labelled pool, or one scan."
EXAMPLE = """examples:
  skcdf phantom pool/ --labelled 4 --unlabelled 8 --validation 2
  skcdf phantom scan.nii.gz --labels truth.nii.gz --seed 7"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "output",
        type=Path,
        metavar="OUT",
        help="folder of the new pool, or a .nii.gz, .nrrd or .mha file for one scan",
    )
    parser.add_argument("--labels", type=Path, help="one scan: where to write its labels")
    parser.add_argument("--labelled", type=int, default=4, help="pool: labelled training cases (default 4)")
    parser.add_argument(
        "--unlabelled", type=int, default=8, help="pool: unlabelled training cases (default 8)"
    )
    parser.add_argument(
        "--validation", type=int, default=0, help="pool: labelled validation cases (default 0)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the first patient (default 0)")
    parser.add_argument(
        "--shape",
        type=int,
        nargs=3,
        default=(96, 160, 160),
        metavar=("Z", "Y", "X"),
        help="voxels (default 96 160 160)",
    )
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        default=(2.5, 2.5, 2.5),
        metavar=("Z", "Y", "X"),
        help="voxel size in mm (default 2.5 2.5 2.5)",
    )
    parser.add_argument(
        "--contrast",
        type=float,
        default=1.0,
        metavar="DOSE",
        help="contrast agent, from 0 (none) to 1 (the usual dose; default)",
    )


def run(options: argparse.Namespace) -> int:
    """Makes phantoms; see `SUMMARY`."""
    is_scan = options.labels is not None or options.output.name.lower().endswith(SCAN_ENDINGS)
    return _make_scan(options) if is_scan else _make_pool(options)


def _make_scan(options: argparse.Namespace) -> int:
    from ..image import check_output_name, write_image, write_label_map

    check_output_name(options.output)
    if options.labels:
        check_output_name(options.labels)
        if options.labels.resolve() == options.output.resolve():
            raise SkcdfError(f"{options.labels}: scan and labels have the same name.", "Give two names.")
    scan, labels = _phantom(options, options.seed)
    write_image(options.output, scan)
    print(f"wrote {options.output}")
    if options.labels:
        write_label_map(options.labels, labels.array, labels.geometry, "synthetic phantom")
        print(f"wrote {options.labels}")
    return 0


def _phantom(options: argparse.Namespace, seed: int) -> tuple[Image, Image]:
    from ..phantom import make_phantom

    return make_phantom(
        seed, shape=tuple(options.shape), spacing=tuple(options.spacing), contrast=options.contrast
    )


def _make_pool(options: argparse.Namespace) -> int:
    from ..labels import LabelSet
    from ..phantom import PHANTOM_LABELS
    from ..pool import LabelledPool
    from ..progress import Progress
    from .console import ConsoleProgress

    counts = (options.labelled, options.validation, options.unlabelled)
    if min(counts) < 0 or sum(counts) == 0:
        raise SkcdfError(
            f"{options.output}: a pool of {counts} cases cannot be made.", "Give numbers above 0."
        )
    kinds = [
        kind
        for kind, n in zip(("labelled", "validation", "unlabelled"), counts, strict=True)
        for _ in range(n)
    ]
    progress, pool = ConsoleProgress(), None
    for index, kind in enumerate(kinds):
        seed = options.seed + index
        scan, labels = _phantom(options, seed)
        # only now, so that a shape or spacing that cannot be leaves no empty pool behind
        pool = pool or LabelledPool.create(
            options.output, LabelSet.load(PHANTOM_LABELS), "CT", synthetic=True
        )
        pool.add_case(
            f"phantom_{seed:04d}",
            scan,
            None if kind == "unlabelled" else labels,
            subject=f"phantom {seed}",
            split="validation" if kind == "validation" else "training",
        )
        progress(Progress("make phantoms", index + 1, len(kinds)))
    print("{}: {} labelled, {} validation and {} unlabelled cases".format(options.output, *counts))
    return 0
