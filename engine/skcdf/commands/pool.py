"""``skcdf pool``: make a labelled pool, fill it, look after it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError
from ..text_table import cases, table
from .pool_cases import add_case_actions
from .pool_import import add_import_action
from .pool_locks import print_locks

if TYPE_CHECKING:
    from ..case_record import CaseRecord
    from ..labels import LabelSet

SUMMARY = "Make a labelled pool, import and add cases, revise, withdraw, list and verify them."
EXAMPLE = """examples:
  skcdf pool create POOL --labels synapse13 --modality CT
  skcdf pool create POOL --organs 'liver, spleen, left lung=SCT:39607008/left' --modality CT
  skcdf pool import POOL annotations/ --write-mapping mapping.json
  skcdf pool import POOL annotations/ --mapping mapping.json --dry-run
  skcdf pool add POOL ct.nii.gz organs.seg.nrrd --name case_07 --subject 'archive 4711'
  skcdf pool add-unlabelled POOL more_scans/
  skcdf pool revise POOL case_07 corrected.seg.nrrd --model liver@v3
  skcdf pool list POOL
  skcdf pool verify POOL"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_create(actions)
    add_import_action(actions)
    add_case_actions(actions)
    listing = _action(actions, "list", "show the cases as a table", _list)
    listing.add_argument("--organs", action="store_true", help="name the annotated organs of every case")
    _action(
        actions,
        "verify",
        "decode every file and compare it with what the pool says; put in order what a crash has left",
        _verify,
    )
    extend = _action(actions, "extend", "add labels at the end of the pool's label set", _extend)
    extend.add_argument("organs", help="as for create: 'left lung=SCT:39607008/left, duodenum'")


def run(options: argparse.Namespace) -> int:
    """Does one action; see `SUMMARY`."""
    code: int = options.work(options)
    return code


def _add_create(actions: Any) -> None:
    create = _action(actions, "create", "make an empty pool", _create)
    add_label_arguments(create)


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what a new pool needs to know: ``--labels`` or ``--organs``, ``--modality``, ``--synthetic``."""
    labels = parser.add_mutually_exclusive_group(required=True)
    labels.add_argument(
        "--labels", help="a label set: synapse13, amos15, openkbp7, hippocampus2, or a .json file"
    )
    labels.add_argument(
        "--organs",
        help="or the organs, separated by commas: names that a shipped label set knows, or NAME=SCHEME:CODE or "
        "NAME=SCHEME:CODE/SIDE",
    )
    parser.add_argument("--modality", required=True, choices=("CT", "MR"))
    parser.add_argument(
        "--synthetic", action="store_true", help="every scan will be a phantom; models trained on them say so"
    )


def chosen_labels(options: argparse.Namespace, name: str) -> LabelSet:
    """The label set that ``--labels`` or ``--organs`` names; the latter's is called ``name``."""
    from ..labels import LabelSet
    from ..organ_list import organs_from_text

    return (
        organs_from_text(options.organs, name)
        if options.organs is not None
        else LabelSet.load(options.labels)
    )


def _action(actions: Any, name: str, text: str, work: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument("pool", type=Path, metavar="POOL", help="the pool's folder")
    parser.set_defaults(work=work)
    return parser


def _create(options: argparse.Namespace) -> int:
    from ..pool import LabelledPool

    label_set = chosen_labels(options, options.pool.resolve().name)
    LabelledPool.create(options.pool, label_set, options.modality, synthetic=options.synthetic)
    print(f"{options.pool}: an empty pool for {options.modality} scans with {len(label_set.labels)} labels")
    print_labels(label_set)
    return 0


def _extend(options: argparse.Namespace) -> int:
    from ..organ_list import extended
    from ..pool import LabelledPool

    pool = LabelledPool.open(options.pool)
    before = len(pool.label_set.labels)
    pool.extend_labels(extended(pool.label_set, options.organs))
    print(
        f"{options.pool}: {len(pool.label_set.labels) - before} labels more; in the cases so far they are unknown"
    )
    print_labels(pool.label_set, before)
    trained = [record.current for record in pool.records() if record.split == "training" and record.current]
    if trained:
        full = sum(set(revision.annotated) == set(pool.label_set.names) for revision in trained)
        print(
            f"nnU-Net gets {full} of {cases(len(trained))} with label maps: those in which every label was annotated. "
            "Annotate the new ones in the others."
        )
    return 0


def print_labels(label_set: LabelSet, first: int = 0) -> None:
    """Prints the labels from the ``first`` on, with values, codes and partners."""

    rows = [["label", "value", "code", "partner"]]
    for label in label_set.labels[first:]:
        codes = [label.code, *([label.modifier] if label.modifier else [])]
        partner = label_set.labels[label.partner - 1].name if label.partner else "-"
        known = "none" if label.code.scheme.startswith("99") else ""
        code = known or "/".join(
            [f"{label.code.scheme}:{label.code.value}", *(each.value for each in codes[1:])]
        )
        rows.append([label.name, str(label.value), code, partner])
    print(table(rows))


def _list(options: argparse.Namespace) -> int:
    from ..pool import LabelledPool

    pool = LabelledPool.open(options.pool)
    records, labels = pool.records(), pool.label_set.labels
    rows = [["case", "split", "state", "annotated", "revisions", "model", "its Dice"]]
    for record in records:
        last = record.revisions[-1] if record.revisions else None
        rows.append(
            [
                record.name,
                record.split,
                record.state,
                f"{len(last.annotated)}/{len(labels)}" if last else "-",
                str(len(record.revisions)),
                (last.model if last else None) or "-",
                _dice(record),
            ]
        )
    if records:
        print(table(rows))
    if options.organs:
        for record in records:
            if record.revisions:
                print(f"{record.name}: {', '.join(record.revisions[-1].annotated)}")
    if any(
        record.split == "validation" and record.revisions and record.revisions[-1].model for record in records
    ):
        print("A validation case that was corrected from a model's proposal favours that model.")
    states = [record.state for record in records]
    validating = sum(record.split == "validation" and record.state == "labelled" for record in records)
    print(
        f"{cases(len(records))}: {states.count('labelled')} labelled, of which {validating} validate, "
        f"{states.count('unlabelled')} unlabelled, {states.count('withdrawn')} withdrawn"
    )
    print_locks(pool)
    return 0


def _dice(record: CaseRecord) -> str:
    """Mean Dice of the proposal that became the last label map."""
    shares = (record.revisions[-1].proposal_dice or {}) if record.revisions else {}
    known = [share for share in shares.values() if share is not None]
    return f"{sum(known) / len(known):.3f}" if known else "-"


def _verify(options: argparse.Namespace) -> int:
    from ..pool import LabelledPool
    from .console import ConsoleProgress, cancel_on_interrupt

    pool = LabelledPool.open(options.pool)
    with cancel_on_interrupt() as cancel:
        report = pool.verify(ConsoleProgress(), cancel)
    for line in report.repaired:
        print(f"repaired: {line}")
    for problem in report.problems:
        print(f"problem: {problem}")
    print_locks(pool)
    if report.problems:
        raise SkcdfError(
            f"{options.pool}: {len(report.problems)} problems in {cases(report.cases)}.",
            "They are listed above.",
        )
    print(f"{options.pool}: {cases(report.cases)}, all as it should be")
    return 0
