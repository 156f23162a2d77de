"""Records of finished runs: one small JSON each in ``benchmarks/runs/accuracy``, kept with the project.

A record has the run, how it was made, ``validation`` and, where the test cases were segmented, ``test``. Choices are
made from `validation_only` records, which have no ``test`` to look at.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from skcdf.files import read_json, write_text

from .matrix import Run
from .record_shape import require_record

FOLDER = Path(__file__).resolve().parents[1] / "runs" / "accuracy"
METRICS = {
    "dice": ("dice", 4),
    "asd_mm": ("average_surface_distance_mm", 3),
    "hd95_mm": ("hausdorff95_mm", 2),
    "nsd": ("normalized_surface_dice", 4),
}
"""Name in a record: name in the scores of ``skcdf evaluate``, and decimals that are kept."""
Record = dict[str, Any]


class Records:
    """The records in a folder, by the name of their run.

    Raises:
        SkcdfError: a file there is no record, or that of another run than its name says.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._records: dict[str, Record] = {}
        for file in sorted(folder.glob("*.json")):
            self._records[file.stem] = record = read_json(file, "record of a run")
            require_record(file, record, tuple(METRICS))

    def get(self, name: str) -> Record | None:
        """The record of a run; ``None`` where it is not finished."""
        return self._records.get(name)

    def all(self) -> dict[str, Record]:
        """All of them, by name."""
        return dict(self._records)

    def of(self, run: Run) -> Record | None:
        """Likewise."""
        return self.get(run.name)

    def tested(self, run: Run) -> Record | None:
        """The record of a run whose test cases were segmented, else ``None``."""
        record = self.of(run)
        return record if record and record.get("test") else None

    def write(self, name: str, record: Record) -> None:
        """Keeps a record: one key a line, so that the file is small and a difference of two readable."""
        lines = (
            f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in record.items()
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / f"{name}.json", "{\n" + ",\n".join(lines) + "\n}\n")
        self._records[name] = record


def processor_of(record: Record) -> str:
    """What a run's times were measured on: its graphics card, or the kind of its CPU; empty where it is not known."""
    device = record["training"].get("device", "CPU")
    return str(record.get("cpu", "")) if device == "CPU" else str(device)


def validation_only(record: Record) -> Record:
    """A record without the figures of its test cases: all that a choice may see."""
    return {key: value for key, value in record.items() if key != "test"}


def described(run: Run) -> Record:
    """The run itself, as a record begins."""
    return asdict(run)


def scores_of(report: Record) -> Record:
    """The ``test`` part of a record, from what ``skcdf evaluate --output`` wrote.

    Returns:
        ``cases``: names; ``organs``: for each organ the metrics of `METRICS`, a value a case (``None``: not counted),
        and in how many cases it was ``missed`` or ``spurious``.
    """
    cases = report["cases"]
    organs: dict[str, Record] = {}
    for scores in cases.values():
        for score in scores:
            organ = organs.setdefault(
                score["organ"], {**{name: [] for name in METRICS}, "missed": 0, "spurious": 0}
            )
            for name, (source, digits) in METRICS.items():
                value = score[source]
                organ[name].append(None if value is None else round(value, digits))
            if score["presence"] in ("missed", "spurious"):
                organ[score["presence"]] += 1
    return {"cases": [name.removesuffix(".nii.gz") for name in cases], "organs": organs}


def values(record: Record, metric: str = "dice") -> np.ndarray:
    """A metric ``(case, organ)`` of a record's test cases; nan where it is not counted."""
    columns = [organ[metric] for organ in record["test"]["organs"].values()]
    return np.array(columns, float).T
