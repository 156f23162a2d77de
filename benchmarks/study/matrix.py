"""The matrix of runs, read from ``matrix.toml``: nothing of what is compared is decided in code."""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from skcdf.errors import SkcdfError

FILE = Path(__file__).with_name("matrix.toml")
Budget = Literal["iterations", "time"]
NNUNET = "nnunet"
BEST = "best"
STAGES = ("tries", "tests", "nnunet", "ablations")
TIMES = ("loop_seconds", "loop_cpu_seconds")
HINT = "Mend the file, or restore it."


@dataclass(frozen=True)
class Row:
    """A method with its settings: one line of the tables.

    Attributes:
        name: part of file names.
        title: for readers.
        arguments: of ``skcdf train``.
        rates: learning rates that are tried; none for an ablation, which takes that of the method it changes.
    """

    name: str
    title: str
    arguments: str
    rates: tuple[float, ...] = ()


@dataclass(frozen=True)
class Claim:
    """Something to be decided: a difference of at least ``margin``, or every organ's Dice of at least ``least``.

    Attributes:
        text: in words.
        dataset: where.
        better: a row's name, or `BEST`.
        than: a row's name or `NNUNET`; empty where ``least`` counts.
        organs: ``all`` or ``smallest``.
        margin: of mean Dice.
        least: mean Dice of every organ with every seed.
    """

    text: str
    dataset: str
    better: str
    than: str = ""
    organs: str = "all"
    margin: float = 0.0
    least: float = 0.0


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        scale, dataset: keys of the matrix.
        row: name of a row or an ablation.
        budget: ``iterations``: as many as every row has; ``time``: as many as the clock's time holds.
        rate: learning rate.
        seed: of every random draw.
    """

    scale: str
    dataset: str
    row: str
    budget: Budget
    rate: float
    seed: int

    @property
    def name(self) -> str:
        """Of its record and of its folder."""
        return f"{self.scale}-{self.dataset}-{self.row}-{self.budget}-lr{self.rate:g}-s{self.seed}"


@dataclass(frozen=True)
class Matrix:
    """All of ``matrix.toml``; see there.

    Attributes:
        seeds: the first one chooses the learning rates.
        clock: name of the row whose time the budget ``time`` is.
        rows, ablations: by name, in order.
        claims: what is to be decided.
        datasets, scales, stages: as in the file.
    """

    seeds: tuple[int, ...]
    clock: str
    rows: dict[str, Row]
    ablations: dict[str, Row]
    claims: tuple[Claim, ...]
    datasets: dict[str, dict[str, Any]]
    scales: dict[str, dict[str, Any]]
    stages: tuple[dict[str, Any], ...]

    @classmethod
    def load(cls, file: Path = FILE) -> Matrix:
        """Reads the file; names that it uses and does not define raise ``ValueError``.

        Raises:
            SkcdfError: it cannot be read, or something that it must have is missing or wrong.
        """
        try:
            matrix = cls._of(tomllib.loads(file.read_text(encoding="utf-8")))
            matrix._require_settings()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise SkcdfError(f"{file}: cannot be read ({reason}).", HINT) from error
        except KeyError as error:
            raise SkcdfError(f"{file}: {error.args[0]} is missing.", HINT) from error
        except (TypeError, ValueError, AttributeError) as error:
            raise SkcdfError(f"{file}: is no matrix of runs ({error}).", HINT) from error
        matrix._check()
        return matrix

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Matrix:
        rates = tuple(content["rates"])
        rows = [Row(**{"rates": rates, **each}) for each in content["rows"]]
        return cls(
            tuple(content["seeds"]),
            content["clock"],
            {row.name: Row(row.name, row.title, row.arguments, tuple(row.rates)) for row in rows},
            {each["name"]: Row(**each) for each in content["ablations"]},
            tuple(Claim(**each) for each in content["claims"]),
            content["datasets"],
            content["scales"],
            tuple(content["stages"]),
        )

    def _require_settings(self) -> None:
        """Asks for everything that is read later, so that what is missing is told now."""
        if not (self.rows and self.seeds):
            raise ValueError("it has no rows or no seeds")
        run = Run("", "", next(iter(self.rows)), "iterations", 0.1, self.seeds[0])
        for scale, content in self.scales.items():
            for key in ("title", "threads"):
                content[key]
            if content["time"] not in TIMES:
                raise ValueError(f"there is no time called {content['time']}")
            for dataset in self.datasets_at(scale):
                self.arguments(replace(run, scale=scale, dataset=dataset), self.iterations(scale, dataset))
        for settings in self.datasets.values():
            for key in ("labels", "tolerance_mm", "smallest"):
                settings[key]
        for stage in self.stages:
            if stage["kind"] not in STAGES:
                raise ValueError(f"there is no stage of kind {stage['kind']}")
            stage["datasets"]
        for row in (*self.rows.values(), *self.ablations.values()):
            shlex.split(row.arguments)
        for claim in self.claims:
            self.datasets[claim.dataset]

    def _check(self) -> None:
        rows, used = set(self.rows), {self.clock}
        for claim in self.claims:
            used |= {claim.better, claim.than} - {BEST, NNUNET, ""}
        for stage in self.stages:
            used |= set(stage.get("rows", ()))
            if set(stage["datasets"]) - set(self.datasets):
                raise ValueError(f"matrix.toml: a stage names an unknown data set: {stage['datasets']}")
        if used - rows:
            raise ValueError(f"matrix.toml: there is no row called {', '.join(sorted(used - rows))}")
        for scale in self.scales:
            at = self.chooser(scale)
            if at not in self.scales or set(self.datasets_at(scale)) - set(self.datasets_at(at)):
                raise ValueError(f"matrix.toml: scale {scale} has rates of {at}, which lacks its data sets")
            if self.chooser(at) != at:
                raise ValueError(f"matrix.toml: scale {scale} has rates of {at}, which has none of its own")
        if len({len(row.rates) for row in self.rows.values()}) != 1:
            raise ValueError("matrix.toml: every row must have as many learning rates to try as the others")

    def row(self, name: str) -> Row:
        """A row or an ablation."""
        return self.rows.get(name) or self.ablations[name]

    def datasets_at(self, scale: str) -> list[str]:
        """Names of the data sets that the scale has settings for, in the matrix's order."""
        return [dataset for dataset in self.datasets if dataset in self.scales[scale]]

    def iterations(self, scale: str, dataset: str) -> int:
        """Optimiser steps in the budget ``iterations``."""
        return int(self.scales[scale][dataset]["iterations"])

    def chooser(self, scale: str) -> str:
        """The scale at which the learning rates are chosen: itself, where ``rates`` names no other."""
        return str(self.scales[scale].get("rates", scale))

    def tries(self, scale: str, dataset: str, row: str) -> list[Run]:
        """The runs that a row's learning rate is chosen from, which are of the scale's `chooser`."""
        at = self.chooser(scale)
        return [Run(at, dataset, row, "iterations", rate, self.seeds[0]) for rate in self.rows[row].rates]

    def arguments(self, run: Run, iterations: int) -> list[str]:
        """Of ``skcdf train``, beside the pool and the run's folder."""
        scale = self.scales[run.scale]
        parts = (
            self.row(run.row).arguments,
            scale[run.dataset]["arguments"],
            scale["arguments"],
            f"--iterations {iterations} --learning-rate {run.rate:g} --seed {run.seed}",
        )
        return shlex.split(" ".join(parts))
