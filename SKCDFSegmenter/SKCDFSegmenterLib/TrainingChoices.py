"""What a training can start from, and which methods and presets there are, in the words of the panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skcdf.errors import SkcdfError
from skcdf.project import Project

from .ModelCatalogue import ModelChoice
from .Texts import _

SUGGESTED, FROM_NOTHING = "", "none"
"""Values of the parameter ``startFrom``, and of `TrainingSettings.startFrom`, beside a model's reference."""


@dataclass(frozen=True)
class Choice:
    """One entry of a list.

    Attributes:
        value: of the parameter.
        text: what the user reads.
        tip: more of it.
    """

    value: str
    text: str
    tip: str = ""


def methodChoices() -> tuple[Choice, ...]:
    """How to train; the first one fits nearly always."""
    return (
        Choice(
            "",
            _("Suggested by the pool"),
            _(
                "Learns from unlabelled scans, too, where the pool has some and the computer is quick enough for it; "
                "else from labelled cases alone."
            ),
        ),
        Choice(
            "skcdf",
            _("With unlabelled scans (SKCDF)"),
            _("Semi-supervised: labelled cases teach the organs, unlabelled scans the variety of anatomy."),
        ),
        Choice(
            "supervised",
            _("Labelled cases only (supervised)"),
            _("Faster, and needs no unlabelled scans."),
        ),
    )


def methodWords(method: str, plugin: str = "") -> str:
    """A method in the words in which it is chosen. What only the command line offers goes by its name there.

    Args:
        method: its name in the engine.
        plugin: that of a plug-in that went with it; empty: none.
    """
    words = {choice.value: choice.text for choice in methodChoices()}.get(method, method)
    return _("{method}, with {plugin}").format(method=words, plugin=plugin) if plugin else words


def presetMinutes(preset: str) -> int:
    """Time that a preset usually gets, in minutes; 0: no limit."""
    return {"quick": 10, "standard": 30}.get(preset, 0)


def presetChoices() -> tuple[Choice, ...]:
    """How much to train."""
    return (
        Choice("quick", _("Quick: a first look"), _("150 steps from a model, 300 from nothing.")),
        Choice("standard", _("Standard"), _("600 steps from a model, 5000 from nothing.")),
        Choice(
            "published",
            _("As published: many hours on a GPU"),
            _("Sampling, augmentation, optimiser and steps of the published training."),
        ),
    )


def startChoices(models: Sequence[ModelChoice], project: Project | None) -> tuple[Choice, ...]:
    """What a training can start from: what is suggested first, then every model, then nothing."""
    suggested = suggestedStart(models, project)
    title = suggested.title if suggested is not None else _("a new model")
    return (
        Choice(
            SUGGESTED,
            _("Suggested: {model}").format(model=title),
            _("The project's model in use, so that it gets better; a new model where there is none."),
        ),
        *(Choice(choice.reference, choice.title) for choice in models),
        Choice(FROM_NOTHING, _("Nothing: a new model"), _("Needs more cases and more time.")),
    )


def startReference(value: str, models: Sequence[ModelChoice], project: Project | None) -> str:
    """The model that such a value means; empty: none.

    Raises:
        SkcdfError: there is no such model any more.
    """
    if value == FROM_NOTHING:
        return ""
    if value == SUGGESTED:
        suggested = suggestedStart(models, project)
        return suggested.reference if suggested is not None else ""
    if value not in {choice.reference for choice in models}:
        raise SkcdfError(
            _("There is no model {reference} to start from.").format(reference=value),
            _("Choose another one under Start from."),
        )
    return value


def suggestedStart(models: Sequence[ModelChoice], project: Project | None) -> ModelChoice | None:
    """The project's model in use, else one that ships and knows the very organs of the pool; ``None``: neither.

    A model of phantoms suits pools of phantoms alone.
    """
    promoted = next((choice for choice in models if choice.state == "promoted"), None)
    if promoted is not None or project is None:
        return promoted
    try:
        pool = project.pool()
        organs = {(label.name, label.code.value) for label in pool.label_set.labels}
    except SkcdfError:
        return None
    for choice in models:
        bundle = choice.bundle
        if (
            choice.state == "shipped"
            and bundle.training.synthetic == pool.description.synthetic
            and bundle.expects.modality == pool.description.modality
            and {(label.name, label.code.value) for label in bundle.label_set.labels} == organs
        ):
            return choice
    return None
