"""``skcdf model describe``: what only people know of a model, and how well it did on cases of theirs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError

if TYPE_CHECKING:
    from ..model_parts import Accuracy

NAME = "describe"
METRICS = ("dice", "hausdorff95_mm", "normalized_surface_dice")


def add_action(actions: Any) -> None:
    """Adds the action to those of ``skcdf model``."""
    action = actions.add_parser(
        NAME,
        help="write into a model's card what only people know: title, licence, known failures, accuracy",
        description="Writes into a model's model.json what only people know, or have measured, before it is handed "
        "on. What is not given stays as it is, and so do the weights.",
    )
    action.add_argument("model", type=Path, help="the model's folder")
    action.add_argument("--title", metavar="LINE")
    action.add_argument("--description", metavar="TEXT")
    action.add_argument("--licence", metavar="LINE", help="of the weights")
    action.add_argument(
        "--failure", action="append", metavar="LINE", help="a known failure; give all of them, one each time"
    )
    action.add_argument(
        "--scores",
        type=Path,
        metavar="S.json",
        help="what `skcdf evaluate --output` wrote for its label maps",
    )
    action.add_argument(
        "--protocol", metavar="LINE", help="which cases the scores are of, and how they were chosen"
    )


def run(options: argparse.Namespace) -> int:
    """Does what `add_action` says."""
    from .. import files
    from ..models import MODEL_FILE, ModelBundle, describe

    if bool(options.scores) != bool(options.protocol):
        raise SkcdfError(
            "--scores and --protocol belong together: a figure needs its cases.",
            "Give both, or none of them.",
        )
    model = ModelBundle.load(options.model)
    given = {name: getattr(options, name) for name in ("title", "description", "licence")}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.failure is not None:
        changes["known_failures"] = tuple(options.failure)
    if options.scores:
        others = (each for each in model.metrics if each.protocol != options.protocol)
        changes["metrics"] = (*others, *accuracy(options.scores, options.protocol, model.label_set.names))
    if not changes:
        raise SkcdfError("Nothing was given to be written.", "See skcdf model describe --help.")
    model = replace(model, **changes)
    assert model.folder is not None  # it was loaded
    content = model.to_json()
    file = model.folder / MODEL_FILE
    ModelBundle.from_json(content, str(file))  # what would not load is not written
    files.write_json(file, content)
    print(describe(model))
    return 0


def accuracy(file: Path, protocol: str, organs: tuple[str, ...]) -> tuple[Accuracy, ...]:
    """The figures of every organ in a report of ``skcdf evaluate``, as far as a case counts.

    Raises:
        SkcdfError: the file is no such report, or is of other organs.
    """
    from ..files import read_json
    from ..model_parts import Accuracy
    from ..records import FieldError

    content = read_json(file, "report of skcdf evaluate")
    try:
        rows = {row["organ"]: row for row in content["summary"]}
        found = tuple(
            Accuracy(
                organ,
                metric,
                row[f"{metric}_mean"],
                row[f"{metric}_sd"] if row[f"{metric}_n"] > 1 else None,
                row[f"{metric}_n"],
                protocol,
            )
            for organ, row in rows.items()
            for metric in METRICS
            if row[f"{metric}_n"]
        )
    except FieldError as error:
        raise SkcdfError(
            f"{file}: a figure's {error.field} {error.problem}.", "Give what skcdf evaluate wrote, as it is."
        ) from error
    except (KeyError, TypeError) as error:
        raise SkcdfError(
            f"{file}: this is no report of skcdf evaluate.", "Give what its --output wrote."
        ) from error
    if len(rows) < len(content["summary"]) or set(rows) != set(organs):
        raise SkcdfError(
            f"{file}: its organs are not those of the model.", "Evaluate this model's label maps."
        )
    if not found:
        raise SkcdfError(f"{file}: no case counts for any organ.", "Evaluate other cases.")
    return found
