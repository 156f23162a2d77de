"""``skcdf bundle``: carry the program's needs to a computer without network, and check what has arrived."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import SkcdfError

SUMMARY = "Collect what a computer without network needs, with checksums, and check it there."
EXAMPLE = """examples:
  skcdf bundle make stick/                              # wheels for this Python; uses the network
  skcdf bundle make stick/ --store liver_ct/models --model liver_ct
  skcdf bundle seal stick/                              # wheels that were collected by hand
  skcdf bundle check stick/                             # on the other computer; so does sha256sum -c SHA256SUMS
how to install from it: docs/installation.md"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = _action(actions, "make", "collect wheels by pip, and models, in a new folder", _make)
    make.add_argument(
        "--model",
        dest="models",
        action="append",
        default=[],
        metavar="MODEL",
        help="take this model along: folder or shipped name; with --store also NAME or NAME@VERSION there",
    )
    make.add_argument("--store", type=Path, metavar="STORE", help="where models are looked for first")
    _action(actions, "seal", "write the checksums of what lies in a folder", _seal)
    _action(actions, "check", "compare a bundle with its checksums", _check)


def run(options: argparse.Namespace) -> int:
    """Does one action; see `SUMMARY`."""
    code: int = options.work(options)
    return code


def _action(actions: Any, name: str, text: str, work: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the bundle's folder")
    parser.set_defaults(work=work)
    return parser


def _make(options: argparse.Namespace) -> int:
    from ..model_store import ModelStore, find_version_or_model
    from ..offline_bundle import make_bundle

    store = ModelStore.open(options.store) if options.store else None
    make_bundle(options.folder, [find_version_or_model(name, store) for name in options.models])
    print(f"{options.folder}: complete; copy the whole folder, then: skcdf bundle check {options.folder}")
    return 0


def _seal(options: argparse.Namespace) -> int:
    from ..offline_bundle import seal_bundle

    print(f"{options.folder}: checksums of {seal_bundle(options.folder)} files are written")
    return 0


def _check(options: argparse.Namespace) -> int:
    from ..offline_bundle import check_bundle

    problems = check_bundle(options.folder)
    for problem in problems:
        print(problem)
    if problems:
        raise SkcdfError(
            f"{options.folder}: {len(problems)} problem{'s' if len(problems) > 1 else ''}.",
            "Install nothing from it; copy it again from where it was made.",
        )
    print(f"{options.folder}: good")
    return 0
