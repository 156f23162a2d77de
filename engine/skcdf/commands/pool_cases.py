"""``skcdf pool add``, ``add-unlabelled``, ``revise``, ``withdraw``, ``restore``, ``unlock``: single cases."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError
from .console import ConsoleProgress, cancel_on_interrupt
from .pool_import import add_side_and_split, label_names, print_entry

if TYPE_CHECKING:
    from ..image import Image
    from ..import_reader import TakenLabels
    from ..pool import LabelledPool

_ALL = "all"
_LABELS_HELP = "its .seg.nrrd file, or label map with the pool's values"


def add_case_actions(actions: Any) -> None:
    """Adds the actions on single cases to those of ``pool``."""
    add = _action(actions, "add", "add a case, labelled or not", _add)
    add.add_argument(
        "image", type=Path, metavar="IMAGE", help="the scan: a file, or a folder with one DICOM series"
    )
    add.add_argument("labels", type=Path, metavar="LABELS", nargs="?", help=_LABELS_HELP)
    add.add_argument(
        "--name", help="the case's name in the pool (default: that of the file); no patient's name"
    )
    add.add_argument("--subject", help="whose scan it is; only its salted hash is stored (default: the name)")
    add_side_and_split(add, "the case")
    _add_labelling(add, "those that are drawn")

    bare = _action(actions, "add-unlabelled", "add scans without label map, to train on", _add_unlabelled)
    bare.add_argument("images", type=Path, metavar="FILE_OR_FOLDER", nargs="+")

    revise = _action(actions, "revise", "give a case a corrected label map; those before stay", _revise)
    revise.add_argument("case", metavar="CASE")
    revise.add_argument("labels", type=Path, metavar="LABELS", help=_LABELS_HELP)
    revise.add_argument(
        "--sides-are-right", action="store_true", help="left and right are as they were meant"
    )
    _add_labelling(revise, "those of the revision before, and those that are drawn")

    for name, text, work in (
        ("withdraw", "take a case out of training and validation; its files stay", _withdraw),
        ("restore", "bring a withdrawn case back", _restore),
    ):
        _action(actions, name, text, work).add_argument("case", metavar="CASE")
    unlock = _action(
        actions, "unlock", "remove the lock that a program on another computer has left", _unlock
    )
    unlock.add_argument("case", metavar="CASE", nargs="?", help="(default: the lock of the whole pool)")


def _action(actions: Any, name: str, text: str, work: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument("pool", type=Path, metavar="POOL", help="the pool's folder")
    parser.set_defaults(work=work)
    return parser


def _add_labelling(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--annotated",
        metavar="A,B",
        help=f"the labels that were annotated, or {_ALL}: those without voxels are absent, all others unknown "
        f"(default: {default})",
    )
    parser.add_argument("--model", help="the model whose proposal was corrected: NAME@VERSION")
    parser.add_argument("--proposal", type=Path, metavar="FILE", help="that proposal; its Dice is stored")
    parser.add_argument("--mapping", type=Path, help="mapping file for the segments")
    parser.add_argument("--dry-run", action="store_true", help="say what would be stored, and store nothing")


def _add(options: argparse.Namespace) -> int:
    from ..case_names import CaseNames
    from ..image import read_image, stem
    from ..import_text import volumes_text
    from ..pool import LabelledPool

    pool = LabelledPool.open(options.pool)
    image = read_image(options.image)
    name = options.name or CaseNames(()).new(stem(options.image))
    arguments: dict[str, Any] = {"subject": options.subject or name, "split": options.split}
    labels = None
    if options.labels is not None:
        labels = _labels(options, pool, options.labels, image)
        arguments |= {
            "annotated": _annotated(options, pool, labels.annotated),
            "model": options.model,
            "proposal": _proposal(options, pool, image),
            "accept_sides": options.sides_are_right,
        }
    elif options.annotated or options.proposal or options.model:
        raise SkcdfError(
            f"{options.image}: without label map nothing is annotated.", "Give its label map, too."
        )
    label = None if labels is None else labels.image
    preview = pool.preview(name, image, label, **arguments)
    for warning in (*(labels.notes if labels else ()), *preview.warnings):
        print(f"warning: {name}: {warning}", file=sys.stderr)
    if options.dry_run:
        print(f"{name}: would be added for {preview.record.split}, {preview.record.state}")
    else:
        case = pool.add_case(name, image, label, **arguments)
        print(f"{case.name}: added for {case.split}, {case.state}")
    if labels is not None:
        names, volumes = pool.label_set.names, preview.volumes_ml
        print(volumes_text(names, tuple(volumes), volumes, _voxels(labels, preview)))
    return 0


def _add_unlabelled(options: argparse.Namespace) -> int:
    from ..image import images_in, stem
    from ..pool import LabelledPool
    from ..pool_import import plan_import
    from ..pool_sources import Source, SourceCase

    pool = LabelledPool.open(options.pool)
    files = [file for path in options.images for file in (images_in(path) if path.is_dir() else [path])]
    if not files:
        raise SkcdfError(f"{options.images[0]}: no scans were found.", "Give scans, or folders with scans.")
    cases = tuple(SourceCase(stem(file), file, (), stem(file)) for file in files)
    source = Source(options.images[0], "scans", cases)
    with cancel_on_interrupt() as cancel:
        plan = plan_import(pool, source, progress=ConsoleProgress(), cancel=cancel)
        for entry in plan.of("there", "refuse"):
            print_entry(entry, False)
        outcome = plan.run(ConsoleProgress(), cancel, lambda entry: print_entry(entry, False))
    return int(any(entry.action == "refuse" for entry in outcome))


def _revise(options: argparse.Namespace) -> int:
    from ..image import read_image
    from ..import_text import volumes_text
    from ..pool import LabelledPool
    from ..pool_entry import check_labels

    pool = LabelledPool.open(options.pool)
    record = pool.record(options.case)
    image = read_image(pool.root / record.image_file)
    labels = _labels(options, pool, options.labels, image)
    before = record.current.annotated if record.current else ()
    annotated = _annotated(options, pool, {*labels.annotated, *before})
    proposal = _proposal(options, pool, image)
    checked = check_labels(
        record.name, image, labels.image, pool.label_set, annotated, proposal, options.sides_are_right
    )
    for warning in (*labels.notes, *checked.warnings):
        print(f"warning: {record.name}: {warning}", file=sys.stderr)
    if options.dry_run:
        print(f"{record.name}: would get revision {len(record.revisions) + 1}")
    else:
        pool.revise(
            record.name,
            labels.image,
            annotated=annotated,
            model=options.model,
            proposal=proposal,
            accept_sides=options.sides_are_right,
        )
        print(f"{record.name}: has revision {len(record.revisions) + 1}, {record.split}")
    voxels = _voxels(labels, checked)
    print(volumes_text(pool.label_set.names, checked.annotated, checked.volumes_ml, voxels))
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    from ..pool import LabelledPool

    LabelledPool.open(options.pool).withdraw(options.case)
    print(f"{options.case}: withdrawn; its files stay, and skcdf pool restore brings it back")
    return 0


def _restore(options: argparse.Namespace) -> int:
    from ..pool import LabelledPool

    pool = LabelledPool.open(options.pool)
    pool.restore(options.case)
    print(f"{options.case}: {pool.record(options.case).state} again")
    return 0


def _unlock(options: argparse.Namespace) -> int:
    from ..files import remove
    from ..lock import lock_owner
    from ..pool import LabelledPool

    pool = LabelledPool.open(options.pool)
    path = pool.lock_file(options.case)
    if not path.is_file():
        print(f"{options.pool}: {options.case or 'the pool'} is not locked")
        return 0
    owner = lock_owner(path)
    if owner is not None and owner.is_here and not owner.is_dead:
        raise SkcdfError(f"{path}: is held by {owner}, which runs.", "End that program first.")
    remove(path)
    print(f"{options.case or options.pool}: unlocked; it was held by {owner or 'an unknown program'}")
    return 0


def _labels(options: argparse.Namespace, pool: LabelledPool, path: Path, image: Image) -> TakenLabels:
    """The labels of a file on the scan's grid, with the pool's values."""
    from ..import_reader import labels_of_file
    from ..label_mapping import MappingFile

    file = MappingFile() if options.mapping is None else MappingFile.load(options.mapping)
    names = label_names(options.annotated)
    if names is not None and names != (_ALL,):
        file = replace(file, annotated=names)
    return labels_of_file(path, image, pool.label_set, file)


def _annotated(options: argparse.Namespace, pool: LabelledPool, default: Any) -> tuple[str, ...]:
    names = label_names(options.annotated)
    if names == (_ALL,):
        return pool.label_set.names
    wanted = set(default if names is None else names)
    for name in wanted:
        pool.label_set.value_of(name)
    return tuple(name for name in pool.label_set.names if name in wanted)


def _proposal(options: argparse.Namespace, pool: LabelledPool, image: Image) -> Image | None:
    if options.proposal is None:
        return None
    plain = argparse.Namespace(mapping=options.mapping, annotated=None)
    return _labels(plain, pool, options.proposal, image).image


def _voxels(labels: TakenLabels, checked: Any) -> dict[str, int]:
    return {name: labels.voxels.get(name, 0) for name in checked.volumes_ml}
