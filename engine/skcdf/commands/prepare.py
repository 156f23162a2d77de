"""What the scripts ``training/prepare_*.py`` run: from a downloaded data set to a pool and a test set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..cases import Modality
from ..errors import SkcdfError
from ..files import read_json
from ..labels import LabelSet
from ..originals import LAYOUTS, prepare
from ..protocols import CT_ONLY, CaseLists, Protocol, shipped_protocols
from .console import ConsoleProgress

_LISTS = ("labelled", "unlabelled", "validation", "development_test")


def prepare_published(dataset: str, description: str, arguments: Sequence[str] | None = None) -> int:
    """Prepares ``synapse`` or ``amos`` by one of its published protocols.

    Args:
        dataset: the data set's name.
        description: for ``--help``.
        arguments: what follows the script's name; ``None``: of this process.

    Returns:
        The exit code.
    """
    ids = [protocol.id for protocol in shipped_protocols() if protocol.dataset == dataset]
    parser = _parser(description)
    parser.add_argument(
        "--protocol",
        required=True,
        choices=[each for each in ids if not each.endswith(CT_ONLY)],
        help="which published lists; see docs/protocols.md",
    )
    if any(each.endswith(CT_ONLY) for each in ids):
        parser.add_argument(
            "--ct-only", action="store_true", help=f"leave out MR cases; the protocol's id gets {CT_ONLY}"
        )
    options = parser.parse_args(arguments)
    ending = CT_ONLY if getattr(options, "ct_only", False) else ""

    def work() -> None:
        protocol = Protocol.load(f"{options.protocol}{ending}")
        print(f"protocol {protocol.id}: {protocol.title}\nlists: {protocol.source}")
        for remark in protocol.remarks:
            print(f"warning: {remark}", file=sys.stderr)
        _prepare(options, dataset, protocol.cases, protocol.label_set, "CT", protocol.id)

    return _run(work)


def prepare_folder(
    dataset: str,
    label_set: str,
    modality: Modality,
    description: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Prepares a folder of scans by its own ``splits.json``.

    Args:
        dataset: key of `LAYOUTS`.
        label_set: name of the data set's label set.
        modality: of its scans.
        description: for ``--help``.
        arguments: what follows the script's name; ``None``: of this process.

    Returns:
        The exit code.
    """
    options = _parser(description).parse_args(arguments)

    def work() -> None:
        path = options.source / "splits.json"
        content = read_json(path, "list of cases")
        try:
            cases = CaseLists(*(tuple(map(str, content[name])) for name in _LISTS))
        except (KeyError, TypeError) as error:
            raise SkcdfError(f"{path}: not the expected lists ({error!r}).", "Restore the file.") from error
        except SkcdfError as error:
            raise SkcdfError(f"{path}: {error.message}", error.hint) from error
        _prepare(options, dataset, cases, label_set, modality, None)

    return _run(work)


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="ARCHIVE_OR_FOLDER", help="what was downloaded")
    parser.add_argument("output", type=Path, metavar="OUT", help="gets pool/ and test/")
    return parser


def _prepare(
    options: argparse.Namespace,
    dataset: str,
    cases: CaseLists,
    label_set: str,
    modality: Modality,
    protocol: str | None,
) -> None:
    warnings = prepare(
        options.source,
        options.output,
        LAYOUTS[dataset],
        cases,
        LabelSet.load(label_set),
        modality,
        ConsoleProgress(),
        protocol,
    )
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    numbers = (len(cases.labelled), len(cases.unlabelled), len(cases.validation), len(cases.test))
    print(
        "{}: {} labelled, {} unlabelled and {} validation cases in pool, {} cases in test".format(
            options.output, *numbers
        )
    )


def _run(work: Callable[[], None]) -> int:
    try:
        work()
    except SkcdfError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0
