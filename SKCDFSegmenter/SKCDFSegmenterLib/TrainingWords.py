"""Sentences on a training: how it weighs organs, what a stopped one would go on with, and that nothing was gained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skcdf.labels import LabelSet
from skcdf.project import RunState

from .RunOutcomes import RunOutcome
from .TeachingWords import MANY, fileName, titlesOf
from .Texts import _
from .TrainingChoices import methodWords, presetChoices

NEARLY_NOTHING = 0.05
"""Of a training's steps: where fewer are to come, what is to come is the comparison."""


def balanceWords(balance: Mapping[str, Any], labelSet: LabelSet | None = None, most: int = MANY) -> str:
    """How much a voxel of each organ counts beside background; the engine tells it at the start of a training.

    Args:
        balance: the engine's event.
        labelSet: knows the organs' titles.
        most: organs that are named, those that count most.
    """
    titles = titlesOf(labelSet)
    pairs = [
        (name, weight)
        for name, weight in zip(balance["names"], balance["weights"], strict=True)
        if weight is not None
    ]
    pairs.sort(key=lambda pair: -pair[1])
    named = ", ".join(f"{titles.get(name, name)} {_times(weight)}" for name, weight in pairs[:most])
    if len(pairs) > most:
        named = _("{organs}, others less").format(organs=named)
    return _(
        "So that small organs are learnt as well, their voxels count more, about so many times as much as background: "
        "{organs}."
    ).format(organs=named)


def resumeWords(run: RunState) -> str:
    """What a stopped training has done, with which settings of its own, and what its buttons would do."""
    stopped = _("A training was stopped after {done} of {total} steps.").format(
        done=run.iteration, total=run.total
    )
    settings = _("Its own settings: {settings}.").format(settings="; ".join(_settingsOf(run)))
    return "\n".join((stopped, settings, _resumedWords(run), _("Train anew takes what is chosen above.")))


def nothingGainedWords(outcome: RunOutcome) -> str:
    """That a training has kept its start, and what that means for the model in use."""
    gist = _(
        "Nothing was gained: on the validation cases no step of the training was better than its start, so the start "
        "was kept."
    )
    if not outcome.version:
        return f"{gist} " + _("There is no new model; the one in use stays.")
    kept = _(
        "What came out is the old model as another method has it, not trained. Recommended: keep the old model. The "
        "other one is {version} under Versions."
    )
    return f"{gist} {kept.format(version=outcome.version)}"


def nothingGainedAdvice() -> str:
    """What a person can do for a training that gains something."""
    return _(
        "A model gets worse at first while it learns: more corrected cases and a longer training may help."
    )


def _resumedWords(run: RunState) -> str:
    if run.iteration >= run.total:
        return _("All its steps are done: Resume will finish it and compare.")
    if run.steps_to_come < NEARLY_NOTHING * run.total and run.steps_to_come < run.total - run.iteration:
        return _("Its time is nearly used: Resume will finish it and compare.")
    return _("Resume goes on from there, with these.")


def _settingsOf(run: RunState) -> Iterator[str]:
    """Method, preset, start and time, in the words in which they are chosen."""
    if run.method:
        yield methodWords(run.method, run.plugin)
    if run.preset:
        yield {choice.value: choice.text for choice in presetChoices()}.get(run.preset, run.preset)
    start = fileName(run.start).replace("@", " ")
    yield _("from {model}").format(model=start) if start else _("from no model")
    used = _minutes(run.seconds)
    if run.time_budget_s is None:
        yield _("no limit of time, {used} trained so far").format(used=used)
    else:
        most = _minutes(run.time_budget_s)
        yield _("{most} at most, {used} trained so far").format(most=most, used=used)


def _minutes(seconds: float) -> str:
    return _("less than 1 min") if seconds < 60 else _("{n} min").format(n=round(seconds / 60))


def _times(weight: float) -> str:
    """Rounded as far as anybody cares: 4,000, 130, 1.8."""
    digits = 1 if weight >= 1000 else 2
    rounded = float(f"{weight:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.1f}"
