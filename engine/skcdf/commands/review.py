"""``skcdf review``: which unlabelled case to correct next, and where in a segmented scan to look first."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError

if TYPE_CHECKING:
    from ..device import Device
    from ..geometry import Triple
    from ..inference import Segmentation
    from ..models import ModelBundle
    from ..review import ReviewItem

SUMMARY = "Say which unlabelled case of a pool to correct next, or where in one scan to look first."
EXAMPLE = """examples:
  skcdf review pool/ --model my_run/model --cache review_cache/
  skcdf review pool/ --model my_run/model --count 5 --output review.json
  skcdf review --scan ct.nii.gz --model my_run/model --count 12
The first two rank the cases without labels, the third segments a scan and lists places in it. Positions are given
as Slicer shows them (RAS: right and anterior are plus for R and A) and as files hold them (LPS)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    from .options import add_compute_arguments, add_model_arguments

    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        metavar="POOL",
        help="rank the unlabelled cases of this labelled pool, nnU-Net raw data set or MSD task",
    )
    parser.add_argument("--scan", type=Path, metavar="IN", help="list places in this scan instead")
    add_model_arguments(parser)
    parser.add_argument("--count", type=int, default=10, help="how many cases or places to show (default 10)")
    parser.add_argument(
        "--output", type=Path, metavar="R.json", help="write them as JSON, too; of a pool every case"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="of a pool: keep what was measured, for the next time"
    )
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Ranks cases or lists places; see `SUMMARY`."""
    from ..device import choose_device
    from .options import chosen_model

    if (options.data is None) == (options.scan is None):
        raise SkcdfError("There is nothing to review, or too much.", "Give either POOL or --scan IN.")
    if options.count < 1:
        raise SkcdfError(f"--count {options.count}: there is nothing to show.", "Give at least 1.")
    model = chosen_model(options)
    device = choose_device(options.device, options.precision)
    print(
        f"model: {model.name} {model.version}\nnotice: {model.notice}\ndevice: {device.description}",
        file=sys.stderr,
    )
    if options.scan is not None:
        _review_scan(options, model, device)
    else:
        _review_pool(options, model, device)
    return 0


def _review_pool(options: argparse.Namespace, model: ModelBundle, device: Device) -> None:
    from ..datasets import open_dataset
    from ..review import rank_cases
    from .console import ConsoleProgress, cancel_on_interrupt

    dataset = open_dataset(options.data, allow_missing_unlabelled=True)
    if not dataset.unlabelled:
        raise SkcdfError(
            f"{options.data}: it has no unlabelled training cases to rank.", "Add scans without label map."
        )
    if dataset.label_set.names != model.label_set.names:
        print(f"warning: model {model.name} finds other organs than the pool has labels for", file=sys.stderr)
    progress = ConsoleProgress()
    with cancel_on_interrupt() as cancel:
        items = rank_cases(
            dataset.unlabelled, model, device, cache_folder=options.cache, progress=progress, cancel=cancel
        )
    progress.close()
    _print_cases(items[: options.count])
    print(f"{min(options.count, len(items))} of {len(items)} unlabelled cases; correct from the top")
    for item in items[options.count :]:
        if not item.organs and item.score == 0:
            print(f"note: {item.case}: {item.reason}", file=sys.stderr)
    print(model.notice)
    if options.output:
        _write(options.output, model, {"cases": [_case_json(item) for item in items]})


def _print_cases(items: tuple[ReviewItem, ...]) -> None:
    width = max(len("case"), *(len(item.case) for item in items))
    print(f"{'rank':>4}  {'case':<{width}}  unsure  why")
    for item in items:
        score = f"{item.score:6.2f}" if item.organs else "     -"
        print(f"{item.rank:>4}  {item.case:<{width}}  {score}  {item.reason}")


def _case_json(item: ReviewItem) -> dict[str, Any]:
    from ..records import plain_record

    return plain_record(item)


def _review_scan(options: argparse.Namespace, model: ModelBundle, device: Device) -> None:
    from ..check import check_input
    from ..image import read_image
    from ..inference import Predictor
    from .console import ConsoleProgress, cancel_on_interrupt

    image = read_image(options.scan)
    for warning in check_input(image, model):
        print(f"warning: {warning.message} {warning.hint}", file=sys.stderr)
    progress = ConsoleProgress()
    with cancel_on_interrupt() as cancel:
        result = Predictor(model, device).segment(
            image, progress=progress, cancel=cancel, places=options.count
        )
    progress.close()
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    _print_places(result)
    print(model.notice)
    if options.output:
        content = [
            {
                "organ": place.organ,
                "position_lps_mm": list(place.position),
                "position_ras_mm": list(_to_ras(place.position)),
                "unsure": place.unsure,
                "volume_ml": place.volume_ml,
                "reason": place.reason,
            }
            for place in result.places
        ]
        _write(options.output, model, {"scan": str(options.scan), "places": content})


def _print_places(result: Segmentation) -> None:
    from ..text_table import table

    if not result.places:
        print("there is no place where the model is unsure")
        return
    rows = [["", "RAS mm (as in Slicer)", "LPS mm (as in files)", "unsure"]]
    for number, place in enumerate(result.places, start=1):
        positions = (_triple(_to_ras(place.position)), _triple(place.position))
        rows.append([str(number), *positions, f"{place.unsure:.2f}"])
    head, *lines = table(rows).splitlines()
    print(f"{head}  where")
    for line, place in zip(lines, result.places, strict=True):
        print(f"{line}  {_side_words(place.position)}  {place.organ}: {place.reason}")
    missing = [organ.organ for organ in result.organs if not organ.found]
    if missing:
        print(f"not found: {', '.join(missing)}")


def _to_ras(position: Triple) -> Triple:
    x, y, z = position
    return (0.0 - x, 0.0 - y, z)  # not -x: minus zero is no position


def _side_words(position: Triple) -> str:
    """Such as ``R 44.8 P 39.2 S 49.0``: which way from the scanner's origin, so that no sign can be mistaken."""
    names = ("LR", "PA", "SI")
    words = (
        f"{pair[0] if value >= 0 else pair[1]}{abs(value):6.1f}"
        for pair, value in zip(names, position, strict=True)
    )
    return " ".join(words)


def _triple(values: Triple) -> str:
    return " ".join(f"{value:7.1f}" for value in values)


def _write(path: Path, model: ModelBundle, content: dict[str, Any]) -> None:
    from ..files import write_json

    weights = model.weights.sha256 if model.weights else ""
    write_json(
        path,
        {"schema": 1, "model": model.name, "version": model.version, "weights_sha256": weights, **content},
    )
    print(f"wrote {path}", file=sys.stderr)
