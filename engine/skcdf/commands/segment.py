"""``skcdf segment``: one scan, or every scan of a folder."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import SkcdfError

if TYPE_CHECKING:
    from ..inference import Choices, Predictor
    from ..progress import CancelToken
    from ..statistics import OrganStatistics

Job = tuple[Path, Path, Path | None]
"""A scan, its label map and its picture."""
Result = TypeVar("Result")
SUMMARY = "Segment a scan, or every scan in a folder, on the scan's own grid."
EXAMPLE = """examples:
  skcdf segment ct.nii.gz organs.nii.gz --picture organs.png --statistics organs.csv
  skcdf segment dicom_folder/ organs.nrrd --model my_run/model
  skcdf segment ct.nii.gz organs.nii.gz --store models/ --model abdomen
  skcdf segment ct.nii.gz organs.nii.gz --organs liver spleen --region 40 120 0 512 0 512
  skcdf segment scans/ results/
  torchrun --nproc-per-node 2 -m skcdf segment scans/ results/"""
PATIENCE = timedelta(days=1)
"""How long a process that has done its share of a folder waits for the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    from .options import add_compute_arguments, add_model_arguments

    parser.add_argument(
        "scan",
        type=Path,
        metavar="IN",
        help="NIfTI, NRRD or MetaImage file, DICOM folder, or a folder of these",
    )
    parser.add_argument(
        "output",
        type=Path,
        metavar="OUT",
        help="label map to write (.nii.gz, .nrrd, .mha); a folder when IN is one",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--picture", type=Path, metavar="P.png", help="draw three slices; a folder when IN is one"
    )
    parser.add_argument(
        "--statistics",
        type=Path,
        metavar="S.csv",
        help="write volumes and intensities of the organs, how unsure the model is of each, and what is unusual",
    )
    _add_choices(parser)
    add_compute_arguments(parser)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--organs",
        nargs="+",
        default=[],
        metavar="ORGAN",
        help="only these; others become background (default: all)",
    )
    parser.add_argument(
        "--region",
        type=int,
        nargs=6,
        metavar=("Z0", "Z1", "Y0", "Y1", "X0", "X1"),
        help="compute only this box: first voxel and the one behind the last, along the file's axes (z, y, x)",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        help="share of a window that its neighbour covers as well (default: the model's)",
    )
    parser.add_argument(
        "--memory", type=float, metavar="MIB", help="what the sums of scores may take (default: 2048)"
    )


def run(options: argparse.Namespace) -> int:
    """Segments; see `SUMMARY`."""
    from ..device import choose_device
    from ..image import images_in, stem
    from ..inference import Predictor
    from ..launch import launched
    from .options import chosen_model

    scans = images_in(options.scan) if options.scan.is_dir() else [options.scan]
    if not scans:
        raise SkcdfError(
            f"{options.scan}: there is no scan in this folder.", "Give NIfTI, NRRD or MetaImage files."
        )
    many = options.scan.is_dir() and scans != [options.scan]
    if many and stem(options.output) != options.output.name:
        raise SkcdfError(
            f"{options.output}: is a file, but {options.scan} is a folder.", "Give a folder to write to."
        )
    jobs = _outputs(options, scans, many)
    first = launched().rank == 0
    if not many and not first:
        return 0  # one scan is one process's work
    choices = _choices(options)
    model = chosen_model(options)
    choices.check_organs(model.label_set)
    device = choose_device(options.device, options.precision)
    if first:
        print(
            f"model: {model.name} {model.version}\nnotice: {model.notice}\ndevice: {device.description}",
            file=sys.stderr,
        )
    failures = _segment_all(jobs, Predictor(model, device), choices, options.statistics, many)
    if failures and first:
        raise SkcdfError(
            f"{len(failures)} of {len(scans)} scans failed: {', '.join(failures)}.",
            "The others were segmented; see above.",
        )
    return 0


def _choices(options: argparse.Namespace) -> Choices:
    from ..inference import Choices
    from ..records import FieldError

    region = None
    if options.region is not None:
        z0, z1, y0, y1, x0, x1 = options.region
        region = ((z0, z1), (y0, y1), (x0, x1))
    if options.memory is not None and not 0 < options.memory < math.inf:
        raise SkcdfError(f"--memory must be above 0 MiB, is {options.memory:g}.", "Leave it out: 2048.")
    memory = None if options.memory is None else max(1, int(options.memory * (1 << 20)))
    try:
        return Choices(tuple(options.organs), region, options.overlap, memory)
    except FieldError as error:
        raise SkcdfError(f"--{error.field} {error.problem}.", "See skcdf segment --help.") from error


def _segment_all(
    jobs: list[Job], predictor: Predictor, choices: Choices, table: Path | None, many: bool
) -> list[str]:
    """Segments every scan, or this process's share of them, and writes one table; returns which scans failed."""
    from ..ranks import gathered, joined, rank, world_size
    from ..statistics import write_statistics
    from .console import cancel_on_interrupt

    rows: dict[int, list[OrganStatistics]] = {}
    failures: dict[int, str] = {}
    together = joined("cpu", "", "Give the same command again.", PATIENCE) if many else nullcontext()
    with together, cancel_on_interrupt() as cancel:
        try:
            for index in range(rank(), len(jobs), world_size()):
                try:
                    rows[index] = _segment(*jobs[index], predictor, choices, table is not None, cancel)
                except SkcdfError as error:
                    if not many:
                        raise
                    print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
                    failures[index] = str(jobs[index][0])
        finally:  # what was finished before Ctrl-C, or before another process died, is kept
            try:
                rows, failures = _merged(gathered(rows)), _merged(gathered(failures))
            finally:
                if table and rows and rank() == 0:
                    write_statistics(table, [row for each in rows.values() for row in each])
    return list(failures.values())


def _merged(parts: list[dict[int, Result]]) -> dict[int, Result]:
    """What the processes found, in the order of the scans."""
    return dict(sorted(item for part in parts for item in part.items()))


def _outputs(options: argparse.Namespace, scans: list[Path], many: bool) -> list[Job]:
    """Scan, label map and picture of every run; scans that differ only in their ending keep it."""
    from ..image import check_output_name, stem

    stems = [stem(scan) for scan in scans]
    jobs = []
    for scan, short in zip(scans, stems, strict=True):
        name = short if stems.count(short) == 1 else scan.name
        output, picture = options.output, options.picture
        if many or _is_folder(output):
            output = output / f"{name}.nii.gz"
        if picture and many:
            picture = picture / f"{name}.png"
        check_output_name(output)
        if picture and picture.suffix.lower() != ".png":
            raise SkcdfError(f"{picture}: pictures are written as PNG.", "Give a name that ends in .png.")
        jobs.append((scan, output, picture))
    tables = [options.statistics] if options.statistics else []
    for target in [file for job in jobs for file in job[1:] if file] + tables:
        _check_writable(target)
    named = [file.resolve() for file in [*(file for job in jobs for file in job if file), *tables]]
    twice = [file for file in named if named.count(file) > 1]
    if twice:
        raise SkcdfError(
            f"{twice[0]}: would be written over.", "Give scan, results and tables names of their own."
        )
    return jobs


def _is_folder(path: Path) -> bool:
    """Whether it is one; a name that the system cannot take is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _check_writable(target: Path) -> None:
    """Raises `SkcdfError` where ``target`` could not become a file: asked before long work, not after it."""
    try:
        if target.is_dir():
            raise SkcdfError(f"{target}: is a folder.", "Give the name of a file.")
        folder = next(each for each in target.absolute().parents if each.exists())
    except OSError as error:
        raise SkcdfError(
            f"{target}: this name cannot be used ({error.strerror}).", "Give another."
        ) from error
    if not folder.is_dir():
        raise SkcdfError(f"{target}: {folder} is a file, not a folder.", "Give another name.")
    if not os.access(folder, os.W_OK):
        raise SkcdfError(
            f"{target}: {folder} cannot be written.", "Give another folder, or get the right to write."
        )


def _segment(
    scan: Path,
    output: Path,
    picture: Path | None,
    predictor: Predictor,
    choices: Choices,
    unsure: bool,
    cancel: CancelToken,
) -> list[OrganStatistics]:
    from ..check import check_input
    from ..image import read_image, write_label_map
    from ..organ_rows import organ_rows
    from ..picture import write_picture
    from .console import ConsoleProgress

    model = predictor.bundle
    image = read_image(scan)
    region = choices.cropped(image).geometry if choices.region else None
    for warning in check_input(image, model, region):
        print(f"warning: {warning.message} {warning.hint}", file=sys.stderr)
    progress = ConsoleProgress()
    result = predictor.segment(image, choices, progress=progress, cancel=cancel, unsure=unsure)
    progress.close()
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    title = f"{model.name} {model.version}"
    labels = result.label_map.array
    write_label_map(output, labels, image.geometry, note=f"{model.notice} {title}")
    rows = organ_rows(image, result, model, choices)
    _print(scan, output, rows, result.seconds, result.windows)
    if picture:
        _or_note(lambda: write_picture(picture, image, labels, model.label_set, f"{title}. {model.notice}"))
    return rows


def _or_note(draw: Callable[[], None]) -> None:
    """A picture that cannot be drawn does not take the segmentation with it."""
    try:
        draw()
    except SkcdfError as error:
        print(f"note: no picture: {error}", file=sys.stderr)


def _print(scan: Path, output: Path, rows: list[OrganStatistics], seconds: float, windows: int) -> None:
    from ..progress import duration
    from ..text_table import table

    print(f"{scan} -> {output} ({windows} windows, {duration(seconds)})")
    head = ["organ", "mL", "mean", "sd", "pieces", ""]
    body = [
        [
            row.organ,
            f"{row.volume_ml:.1f}",
            f"{row.mean:.0f}",
            f"{row.sd:.0f}",
            str(row.pieces),
            ", ".join(row.flags),
        ]
        for row in rows
        if row.mean is not None and row.sd is not None
    ]
    print(table([head, *body]) if body else "no organ was found")
    missing = [row.organ for row in rows if row.mean is None]
    if missing and body:
        print(f"not found: {', '.join(missing)}")
    print(rows[0].notice)
