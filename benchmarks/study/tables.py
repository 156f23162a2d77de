"""The whole report as Markdown, from the records alone."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev
from typing import get_args

from skcdf.errors import SkcdfError
from skcdf.files import write_text

from .agenda import nnunet_run, open_tasks, unknown_to_engine
from .claims import judge
from .evidence import Evidence, complete_rows, evidence
from .intervals import estimate
from .markdown import span, table, with_interval
from .matrix import BEST, NNUNET, Budget, Matrix
from .nnunet import moving_mean
from .rates import choose_rate, chosen_runs, validation_dice
from .records import METRICS, Record, Records, processor_of, validation_only

BEGIN, END = "<!-- accuracy: begin, written by benchmarks/accuracy.py -->", "<!-- accuracy: end -->"
BUDGETS: tuple[Budget, ...] = get_args(Budget)
HEADS = {"iterations": "equal iterations", "time": "equal time"}
DIGITS = {"dice": 3, "asd_mm": 2, "hd95_mm": 1, "nsd": 3}


def report(matrix: Matrix, records: Records) -> str:
    """Everything that there is, scale by scale and data set by data set."""
    parts = []
    for scale, content in matrix.scales.items():
        for dataset in matrix.datasets_at(scale):
            found = _dataset(matrix, records, scale, dataset)
            if found:
                parts += [f"#### {dataset}, {content['title']}", *found]
        if any(judge(matrix, records, scale, each, "iterations").row for each in matrix.claims) or parts:
            parts += _claims(matrix, records, scale) if _begun(matrix, records, scale) else []
        parts.append(_open(matrix, records, scale))
    return "\n\n".join(parts)


def write_into(file: Path, text: str) -> None:
    """Puts ``text`` between the marks in ``file``, with its line ends; ``ValueError`` where it has none."""
    try:
        content = file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SkcdfError(f"{file}: cannot be read as text ({reason}).", "Give a Markdown file.") from error
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{file}: the marks {BEGIN} and {END} are missing")
    written = f"{BEGIN}\n\n{text}\n\n{END}"
    if "\r\n" in content:
        written = written.replace("\n", "\r\n")
    write_text(file, f"{before}{written}{after}")


def _begun(matrix: Matrix, records: Records, scale: str) -> bool:
    return any(record["scale"] == scale and record["row"] in matrix.rows for record in records.all().values())


def _dataset(matrix: Matrix, records: Records, scale: str, dataset: str) -> list[str]:
    found = [
        each
        for row in (*matrix.rows, NNUNET)
        for budget in BUDGETS
        if (each := evidence(matrix, records, scale, dataset, row, budget))
        and not (budget == "time" and row in (matrix.clock, NNUNET))
    ]
    parts = []
    if found:
        parts += [_means(matrix, found), _organs(matrix, found, matrix.datasets[dataset]["tolerance_mm"])]
    opponent = records.of(nnunet_run(scale, dataset))
    parts += [_opponent(opponent)] if opponent else []
    for part in (_rates(matrix, records, scale, dataset), _ablation(matrix, records, scale, dataset)):
        parts += [part] if part else []
    return parts


def _title(matrix: Matrix, found: Evidence) -> str:
    if found.row == NNUNET:
        return f"nnU-Net on the labelled cases, {found.records[0]['status']}"
    return matrix.rows[found.row].title


def _means(matrix: Matrix, found: list[Evidence]) -> str:
    rows = [["", "budget", "iterations", "rate", "Dice", "by seed", "missed", "minutes", "GiB"]]
    named = len({kind for each in found for kind in _processors(each)}) > 1
    for each in found:
        both = each.row == matrix.clock
        opponent = each.row == NNUNET
        rows.append(
            [
                _title(matrix, each),
                "its own" if opponent else "both" if both else HEADS[each.budget],
                _steps(each),
                "-" if opponent else f"{each.records[0]['rate']:g}",
                with_interval(mean := estimate(each.values())),
                ", ".join(f"{seed:.3f}" for seed in mean.seeds),
                str(each.missed()),
                f"{_minutes(each)} {' and '.join(_processors(each)) if named else ''}".rstrip(),
                _memory(each),
            ]
        )
    cases = len(found[0].cases)
    seeds = found[0].wanted
    text = (
        f"Mean Dice over organs on {cases} test cases, with its 95 % bootstrap interval over cases; {seeds} seeds "
        "each where no fewer are listed. Missed: organs that were not found at all, over cases and seeds. Minutes: "
        "training in CPU time on one thread, or by the clock on a GPU. GiB: the training's peak."
        f"{_loads(found)}{' Minutes on different processors do not compare.' * named}"
    )
    return f"{text}\n\n{table(rows, 2)}"


def _loads(found: list[Evidence]) -> str:
    """How busy the machine was: CPU time, too, is longer on a busy one."""
    records = (record for each in found for record in each.records)
    loads = [load for record in records for load in record["training"].get("load") or ()]
    return f" Load average of the machine meanwhile: {min(loads):.1f} to {max(loads):.1f}." if loads else ""


def _processors(found: Evidence) -> list[str]:
    """Kinds of processors that the row was trained on."""
    return sorted({name for record in found.records if (name := processor_of(record))})


def _steps(found: Evidence) -> str:
    record = found.records[0]
    return f"{record['epochs']['run']} epochs" if found.row == NNUNET else str(record["iterations"])


def _minutes(found: Evidence) -> str:
    times = [record["training"] for record in found.records]
    if found.row == NNUNET:
        return f"{times[0]['seconds'] / 60:.1f}"
    key = "loop_seconds" if times[0]["gpu_gib"] else "loop_cpu_seconds"
    return span([each[key] / 60 for each in times], 1)


def _memory(found: Evidence) -> str:
    times = [record["training"] for record in found.records]
    if found.row == NNUNET:
        return "-"
    return f"{max(each['gpu_gib'] or each['resident_gib'] for each in times):.1f}"


def _organs(matrix: Matrix, found: list[Evidence], tolerance: float) -> str:
    """One line an organ and row; folded, since there are many."""
    rows = [["organ", "", "budget", "Dice", "ASD mm", "HD95 mm", f"NSD at {tolerance:g} mm", "missed"]]
    for organ in found[0].organs:
        for each in found:
            figures = [
                with_interval(estimate(each.values(metric, (organ,))), DIGITS[metric]) for metric in METRICS
            ]
            budget = (
                "its own"
                if each.row == NNUNET
                else "both"
                if each.row == matrix.clock
                else HEADS[each.budget]
            )
            rows.append([organ, _title(matrix, each), budget, *figures, str(each.missed(organ))])
    text = "By organ; ASD and HD95 over the cases in which it was found"
    return f"<details><summary>{text}</summary>\n\n{table(rows, 3)}\n\n</details>"


def _opponent(record: Record) -> str:
    """nnU-Net's curve: the moving mean of its validation Dice at every tenth of both schedules."""
    epochs = record["epochs"]["scheduled"]
    rows = [["schedule", *(f"{tenth}0 %" for tenth in range(1, 11))]]
    for each, curve in record["curves"].items():
        smooth = moving_mean(curve)
        ends = [max(1, round(int(each) * tenth / 10)) for tenth in range(1, 11)]
        rows.append(
            [f"{each} epochs", *(f"{smooth[end - 1]:.3f}" if end <= len(smooth) else "-" for end in ends)]
        )
    return (
        f"nnU-Net: {record['status']} after {record['epochs']['run']} of {epochs} epochs. Moving mean of its "
        f"validation Dice on the way. Converged means: {record['rule']}.\n\n{table(rows)}"
    )


def _rates(matrix: Matrix, records: Records, scale: str, dataset: str) -> str:
    """Which learning rates were tried, and what the validation cases said."""
    if (at := matrix.chooser(scale)) != scale:
        taken = f"Learning rates are those chosen above with {matrix.scales[at]['title']}."
        return taken if _begun(matrix, records, scale) else ""
    rows = [["", "tries: rate and validation Dice", "chosen"]]
    for name, row in matrix.rows.items():
        choice = choose_rate(matrix, records, scale, dataset, name)
        if all(value is None for value in choice.dice.values()):
            continue
        tries = ", ".join(
            f"{rate:g}: {'open' if dice is None else f'{dice:.3f}'}" for rate, dice in choice.dice.items()
        )
        chosen = (
            "open"
            if choice.rate is None
            else f"{choice.rate:g}{' (edge of the tries)' if choice.at_edge else ''}"
        )
        rows.append([row.title, tries, chosen])
    if len(rows) == 1:
        return ""
    return (
        "Learning rates, chosen by the mean Dice of the best weights on the validation cases, seed "
        f"{matrix.seeds[0]}, at equal iterations; as many tries for every row.\n\n{table(rows, 2)}"
    )


def _ablation(matrix: Matrix, records: Records, scale: str, dataset: str) -> str:
    """SKCDF with one part changed, on the validation cases."""
    lines = []
    for name in (matrix.clock, *matrix.ablations):
        runs = chosen_runs(matrix, records, scale, dataset, name, "iterations")
        dice = [validation_dice(validation_only(record)) for run in runs if (record := records.of(run))]
        if dice:
            spread = f" ± {stdev(dice):.3f}" if len(dice) > 1 else ""
            seeds = ", ".join(f"{each:.3f}" for each in dice)
            lines.append([matrix.row(name).title, f"{fmean(dice):.3f}{spread}", seeds])
    if len(lines) < 2:
        return ""
    head = ["", "validation Dice", "by seed"]
    return (
        "SKCDF with one part changed, at its own learning rate, on the validation cases (best weights of each run; "
        f"mean ± standard deviation over seeds).\n\n{table([head, *lines])}"
    )


def _claims(matrix: Matrix, records: Records, scale: str) -> list[str]:
    rows = [["claim", "budget", "", "mean paired difference [95 % interval over cases]"]]
    for claim in matrix.claims:
        for budget in BUDGETS:
            verdict = judge(matrix, records, scale, claim, budget)
            best = ""
            if claim.better == BEST and verdict.row:
                among = len(complete_rows(matrix, records, scale, claim.dataset, budget))
                best = f"; best is {verdict.row}, on validation, of {among} of {len(matrix.rows)} rows"
            rows.append([claim.text, HEADS[budget], f"**{verdict.state}**", f"{verdict.why}{best}"])
    return [f"What was to be decided, {matrix.scales[scale]['title']}:", table(rows, 4)]


def _open(matrix: Matrix, records: Records, scale: str) -> str:
    """What is not measured, in a sentence or two."""
    tasks = [task for task in open_tasks(matrix, records, scale) if task.run.row != NNUNET]
    waiting = [name for name in (*matrix.rows, *matrix.ablations) if unknown_to_engine(matrix.row(name))]
    parts = [f"Open at scale {scale}: {len(tasks)} runs that can be begun now"]
    if waiting:
        parts.append(f"rows that this version cannot train: {', '.join(waiting)}")
    for dataset in matrix.datasets_at(scale):
        record = records.of(nnunet_run(scale, dataset))
        state = record["status"] if record else "not run"
        parts.append(f"nnU-Net on {dataset}: {state}")
    return "; ".join(parts) + "."
