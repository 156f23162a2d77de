"""``skcdf pool import``: foreign annotations into a pool, with a mapping file and a dry run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError
from ..text_table import cases
from .console import ConsoleProgress, cancel_on_interrupt

if TYPE_CHECKING:
    from ..pool import LabelledPool
    from ..pool_import import ImportEntry, ImportOptions, ImportPlan

_TEXT = "import scans with label maps or .seg.nrrd files, an nnU-Net dataset, an MSD task or another pool"
_LABELS_NAMED = 8


def add_import_action(actions: Any) -> None:
    """Adds ``import`` to the actions of ``pool``."""
    parser = actions.add_parser("import", help=_TEXT, description=f"{_TEXT[0].upper()}{_TEXT[1:]}.")
    parser.add_argument("pool", type=Path, metavar="POOL", help="the pool's folder")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the folder with the annotations")
    parser.add_argument(
        "--mapping", type=Path, help="mapping file: which label becomes which, who validates and so on"
    )
    parser.add_argument(
        "--write-mapping", type=Path, metavar="FILE", help="write a mapping file to edit, and import nothing"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be stored, and store nothing")
    parser.add_argument(
        "--values-are-pool-values",
        action="store_true",
        help="the values in the label maps are those of the pool's labels",
    )
    parser.add_argument(
        "--annotated",
        metavar="A,B",
        help="only these labels were annotated; any other is unknown, not absent",
    )
    parser.add_argument(
        "--without-voxels",
        choices=("absent", "unknown"),
        help="what a label without voxels is in a case (default: absent where the source names it, unknown where it "
        "is a bare value)",
    )
    parser.add_argument(
        "--revise",
        action="store_true",
        help="where the pool has a scan with another label map, add the source's as its newest revision",
    )
    add_side_and_split(parser, "all labelled cases")
    parser.set_defaults(work=_import)


def add_side_and_split(parser: argparse.ArgumentParser, whose: str) -> None:
    """Adds ``--sides-are-right``, ``--training`` and ``--validation``."""
    parser.add_argument(
        "--sides-are-right",
        action="store_true",
        help="a right organ to the left of its left partner is what was meant",
    )
    split = parser.add_mutually_exclusive_group()
    for name, text in (("training", "to train on"), ("validation", "to validate with, never to train on")):
        split.add_argument(
            f"--{name}", dest="split", action="store_const", const=name, help=f"{whose}: {text}"
        )


def label_names(text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; ``None`` for ``None``."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _import(options: argparse.Namespace) -> int:
    from ..import_text import counts_text, mapping_text
    from ..pool import LabelledPool
    from ..pool_import import plan_import
    from ..pool_sources import open_source

    pool, source = LabelledPool.open(options.pool), open_source(options.source)
    print(f"{options.source}: {source.kind} with {cases(len(source.cases))}")
    with cancel_on_interrupt() as cancel:
        plan = plan_import(pool, source, _options(options), ConsoleProgress(), cancel)
        if text := mapping_text(plan):
            print(text)
        if options.write_mapping is not None:
            return _write_mapping(plan, options)
        for warning in plan.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        if plan.blockers:
            return _refuse(plan)
        if options.dry_run:
            for entry in plan.entries:
                print_entry(entry, True)
                print_organs(entry, pool.label_set.names)
            print(f"dry run, nothing was written: {counts_text(plan.entries, True)}")
            return _code(plan.entries)
        for entry in plan.of("there", "differs", "refuse"):
            print_entry(entry, False)
        outcome = plan.run(ConsoleProgress(), cancel, lambda entry: print_entry(entry, False))
    print(f"{options.pool}: {counts_text(outcome, False)}")
    return _code(outcome)


def _options(options: argparse.Namespace) -> ImportOptions:
    from dataclasses import replace

    from ..label_mapping import MappingFile
    from ..pool_import import ImportOptions

    file = MappingFile() if options.mapping is None else MappingFile.load(options.mapping)
    annotated = label_names(options.annotated)
    if annotated is not None:
        file = replace(file, annotated=annotated)
    if options.without_voxels is not None:
        file = replace(file, without_voxels=options.without_voxels)
    return ImportOptions(
        file, options.values_are_pool_values, options.revise, options.sides_are_right, options.split
    )


def _write_mapping(plan: ImportPlan, options: argparse.Namespace) -> int:
    from ..label_mapping import proposed_mapping_file

    if options.write_mapping.exists():
        raise SkcdfError(f"{options.write_mapping}: is there already.", "Give another name, or remove it.")
    proposed_mapping_file(
        plan.labels, plan.pool.label_set, plan.options.file, plan.options.values_are_targets
    ).save(options.write_mapping)
    print(
        f"wrote {options.write_mapping}: replace every ? by one of {_listed(plan.pool)}, or by null "
        "to leave the label out; then import with --mapping"
    )
    return 0


def _refuse(plan: ImportPlan) -> int:
    for blocker in plan.blockers:
        print(f"error: {blocker}", file=sys.stderr)
    if plan.undecided:
        print(
            "hint: --write-mapping FILE writes a mapping file to edit"
            + ("; --values-are-pool-values takes bare values as the pool's" if _bare(plan) else ""),
            file=sys.stderr,
        )
    return 1


def _bare(plan: ImportPlan) -> bool:
    return any(label.name == str(label.value) for label in plan.undecided)


def print_entry(entry: ImportEntry, planned: bool) -> None:
    """Prints what becomes, or became, of a case: in a dry run organ by organ."""
    from ..import_text import entry_text

    if entry.action == "refuse":
        print(f"error: {entry_text(entry, planned)}", file=sys.stderr, flush=True)
        return
    print(entry_text(entry, planned), flush=True)
    if entry.action == "there":
        return
    for warning in entry.warnings:
        print(f"warning: {entry.name}: {warning}", file=sys.stderr, flush=True)


def print_organs(entry: ImportEntry, names: Sequence[str]) -> None:
    """Prints every label of the pool, ``names``, with its volume in a case, or as absent or unknown."""
    from ..import_text import volumes_text

    if entry.annotated:
        print(volumes_text(names, entry.annotated, entry.volumes_ml, entry.voxels))


def _code(entries: tuple[ImportEntry, ...]) -> int:
    return int(any(entry.action == "refuse" for entry in entries))


def _listed(pool: LabelledPool) -> str:
    from ..pool_folder import LABEL_SET_FILE

    names = pool.label_set.names
    more = len(names) - _LABELS_NAMED
    return ", ".join(names[:_LABELS_NAMED]) + (
        f" and {more} more (all are in {pool.root / LABEL_SET_FILE})" if more > 0 else ""
    )
