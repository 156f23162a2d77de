"""The actions of ``skcdf model`` on a model store: versions, which of them is in use, and what is better."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError
from .options import add_compute_arguments

if TYPE_CHECKING:
    from ..model_store import ModelStore
    from ..models import ModelBundle

NO_MODEL = "none"
CACHE_FOLDER = ".scores"
EXAMPLES = {
    "versions": ["skcdf model versions store/", "skcdf model versions store/ liver"],
    "add": [
        "skcdf model add store/ liver runs/second/model --parent liver@v1",
        "skcdf model add store/ liver liver.zip",
    ],
    "compare": [
        "skcdf model compare liver liver@v2 --data pool/ --store store/",
        "skcdf model compare models/old runs/new/model --data pool/ --output table.json",
        "skcdf model compare none runs/first/model --data pool/",
    ],
    "promote": ["skcdf model promote store/ liver v2"],
    "rollback": ["skcdf model rollback store/ liver"],
    "retire": ["skcdf model retire store/ liver v1"],
    "verify": ["skcdf model verify store/"],
}
SUMMARIES = {
    "versions": "list a store's models, or the versions of one",
    "add": "copy a model into a store, as a candidate",
    "compare": "compare two models on the validation cases of a pool, organ by organ",
    "promote": "take a version into use",
    "rollback": "go back to the version that was promoted before",
    "retire": "take a version out of use; rolling back passes it over",
    "verify": "check all files of a store against their checksums",
}
ACTIONS = tuple(SUMMARIES)


def add_actions(actions: Any) -> None:
    """Adds the actions to those of ``skcdf model``."""
    parsers = {name: _add_action(actions, name) for name in ACTIONS}
    for name, parser in parsers.items():
        if name != "compare":
            parser.add_argument("store", type=Path, metavar="STORE", help="the store's folder")
    parsers["versions"].add_argument("name", metavar="NAME", nargs="?", help="the model (default: all)")
    for name in ("add", "promote", "rollback", "retire"):
        parsers[name].add_argument("name", metavar="NAME", help="the model's name in the store")
    for name in ("promote", "retire"):
        parsers[name].add_argument("version", metavar="VERSION", help="such as v2")
    add = parsers["add"]
    add.add_argument("folder", type=Path, metavar="FOLDER", help="the model's folder, or its .zip file")
    add.add_argument("--parent", metavar="MODEL", help="what its training started from, such as liver@v1")
    add.add_argument("--note", default="", help="a line for people")
    _add_compare_arguments(parsers["compare"])


def _add_action(actions: Any, name: str) -> argparse.ArgumentParser:
    summary = f"{SUMMARIES[name][0].upper()}{SUMMARIES[name][1:]}."
    examples = "\n".join(f"  {each}" for each in EXAMPLES[name])
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=SUMMARIES[name],
        description=summary,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = "folder, shipped name, or name or name@version in the store"
    parser.add_argument("before", metavar="BEFORE", help=f"{kinds}; {NO_MODEL}: there is no model before")
    parser.add_argument("after", metavar="AFTER", help=kinds)
    parser.add_argument("--data", type=Path, metavar="POOL", required=True, help="where the cases are")
    parser.add_argument("--store", type=Path, metavar="STORE", help="where models are looked for first")
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help=f"remember what was computed there (default: {CACHE_FOLDER} in the store)",
    )
    parser.add_argument("--output", type=Path, metavar="TABLE.json", help="write the comparison to a file")
    add_compute_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Does one of `ACTIONS`."""
    if options.action == "compare":
        return _compare(options)
    from ..model_store import ModelStore

    if options.action == "add":
        return _add(options)
    store = ModelStore.open(options.store)
    if options.action == "verify":
        return _verify(store)
    if options.action == "versions":
        lines = [options.name] if options.name else store.lines()
        print("\n\n".join(_versions(store, line) for line in lines) or "no models")
    else:
        _change(store, options)
    return 0


def _change(store: ModelStore, options: argparse.Namespace) -> None:
    name, before = options.name, store.state(options.name).promoted
    if options.action == "promote":
        store.promote(name, options.version)
        print(f"{name}: {options.version} is promoted{_instead_of(before, options.version)}")
    elif options.action == "rollback":
        version = store.roll_back(name).version
        print(f"{name}: back to {version}{_instead_of(before, version)}")
    else:
        store.retire(name, options.version)
        print(f"{name}: {options.version} is retired")


def _instead_of(before: str | None, now: str) -> str:
    return f" instead of {before}" if before not in (None, now) else ""


def _add(options: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory

    from ..model_file import is_model_file, unpacked_model
    from ..models import ModelBundle

    if not is_model_file(options.folder) or options.folder.is_dir():
        return _add_bundle(ModelBundle.load(options.folder), options)
    # Before the store, which a file that is no model must not bring about.
    with (
        TemporaryDirectory(prefix="skcdf-") as folder,
        unpacked_model(options.folder, Path(folder) / "model") as bundle,
    ):
        return _add_bundle(bundle, options)


def _add_bundle(bundle: ModelBundle, options: argparse.Namespace) -> int:
    from ..model_store import ModelStore
    from ..model_version import known_settings, scans_hash

    assert bundle.folder is not None  # it was loaded
    version = ModelStore.open(options.store, create=True).add(
        options.name,
        bundle.folder,
        parent=options.parent,
        data_hash=scans_hash(bundle),
        config=known_settings(bundle),
        note=options.note,
    )
    print(f"{version.reference}: added as a candidate [{version.folder}]")
    return 0


def _versions(store: ModelStore, name: str) -> str:
    from ..text_table import table

    rows = [["version", "state", "created", "parent", "own Dice", "note"]]
    for each in store.versions(name):
        dice = [figure for figure in each.metrics if figure.metric == "dice" and figure.organ != "mean"]
        cases = max((figure.n for figure in dice), default=0)
        mean = f"{sum(figure.mean for figure in dice) / len(dice):.3f} (n = {cases})" if dice else "-"
        created = each.created[:16].replace("T", " ")
        rows.append([each.version, each.state, created, each.parent or "-", mean, each.note or "-"])
    promoted = store.state(name).promoted
    return f"{name}: {promoted or 'no version'} is promoted\n{table(rows)}"


def _verify(store: ModelStore) -> int:
    from .console import ConsoleProgress

    problems = store.verify(ConsoleProgress())
    for problem in problems:
        print(problem)
    if problems:
        raise SkcdfError(
            f"{store.root}: {len(problems)} problem{'s' if len(problems) > 1 else ''}.",
            "Restore what is named from a copy; everything else can be used.",
        )
    print(f"{store.root}: good, {sum(len(store.versions(line)) for line in store.lines())} versions")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from ..comparison import compare_models
    from ..datasets import open_dataset
    from ..device import choose_device
    from ..files import write_json
    from ..model_store import ModelStore, find_version_or_model
    from .console import ConsoleProgress, cancel_on_interrupt

    store = ModelStore.open(options.store) if options.store else None
    cache = options.cache or (store.root / CACHE_FOLDER if store else None)
    before: ModelBundle | None = None
    if options.before != NO_MODEL:
        before = find_version_or_model(options.before, store)
    after = find_version_or_model(options.after, store)
    dataset = open_dataset(options.data)
    device = choose_device(options.device, options.precision)
    progress = ConsoleProgress()
    with cancel_on_interrupt() as cancel:
        comparison = compare_models(
            before,
            after,
            dataset,
            device,
            progress=progress,
            cancel=cancel,
            cache_folder=cache,
        )
    progress.close()
    print(comparison.text())
    if options.output:
        write_json(options.output, comparison.to_json())
    return 0
