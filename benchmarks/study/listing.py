"""The list of all runs, for the terminal."""

from __future__ import annotations

from .agenda import open_tasks, unknown_to_engine
from .matrix import NNUNET, Matrix
from .records import Records


def listing(matrix: Matrix, records: Records, scale: str) -> str:
    """Finished runs, then the open ones in the order in which ``--next`` takes them."""
    names = sorted(file.stem for file in records.folder.glob(f"{scale}-*.json"))
    lines = [f"done  {name}{_tested(records, name)}" for name in names]
    for task in open_tasks(matrix, records, scale):
        known = task.run.row == NNUNET or not unknown_to_engine(matrix.row(task.run.row))
        lines.append(f"{'open ' if known else 'wait '} {task.run.name}  ({task.purpose})")
    rows = (*matrix.rows.values(), *matrix.ablations.values())
    for row in rows:
        if why := unknown_to_engine(row):
            lines.append(f"{row.name} waits: {why}")
    return "\n".join(lines)


def _tested(records: Records, name: str) -> str:
    record = records.get(name)
    return "" if record and record.get("test") else "  (validation only)"
