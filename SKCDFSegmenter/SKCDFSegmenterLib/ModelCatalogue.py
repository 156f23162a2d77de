"""The models a user can choose from: those that ship with the program, and the versions of the project's store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skcdf.errors import SkcdfError
from skcdf.models import DEFAULT_MODEL, ModelBundle, describe, list_models
from skcdf.project import Project
from skcdf.resources import resource

from .Texts import _

ChoiceState = Literal["shipped", "promoted", "candidate", "retired"]


@dataclass(frozen=True)
class ModelChoice:
    """A model in the panel's list.

    Attributes:
        reference: what the worker takes as ``model``: ``phantom13``, ``abdomen@v2``.
        store: what it takes as ``store``; empty for a shipped model.
        bundle: the model.
        state: where it comes from and whether it is in use.
    """

    reference: str
    store: str
    bundle: ModelBundle
    state: ChoiceState

    @property
    def title(self) -> str:
        """One line for a list."""
        if self.state == "shipped":  # of these there is one of each name
            return _("{name} (built in)").format(name=self.bundle.name)
        words = {"promoted": _("in use"), "candidate": _("candidate"), "retired": _("retired")}
        return f"{self.bundle.name} {self.bundle.version} ({words[self.state]})"

    @property
    def isForRealScans(self) -> bool:
        """Whether it was trained on scans of people; a model of phantoms only shows how the program works."""
        return not self.bundle.training.synthetic


def modelChoices(project: Project | None) -> tuple[ModelChoice, ...]:
    """All models: of the project first, the one in use before the others, then those that ship with the program, the
    default one before the others.

    A version that is damaged is left out; ``skcdf model verify`` names it. So are all versions where the store is gone
    or cannot be read, which *Versions* tells: models that ship can be used all the same.
    """
    own = _versions(project) if project is not None else []
    models = sorted(list_models(resource("Models")), key=lambda bundle: bundle.name != DEFAULT_MODEL)
    shipped = [ModelChoice(bundle.name, "", bundle, "shipped") for bundle in models]
    return (*own, *shipped)


def findChoice(choices: tuple[ModelChoice, ...], reference: str) -> ModelChoice | None:
    """The choice of that reference, else the first one that is in use or ships; ``None`` where there is no model."""
    named = [choice for choice in choices if choice.reference == reference]
    usable = [choice for choice in choices if choice.state in ("promoted", "shipped")]
    return next(iter((*named, *usable, *choices)), None)


def modelCard(choice: ModelChoice) -> str:
    """Everything that is known of the model, in lines; organs with their values and SNOMED CT codes."""
    codes = [
        f"  {label.value}: {label.title} ({label.code.scheme} {label.code.value}"
        + (f", {label.modifier.meaning}" if label.modifier is not None else "")
        + ")"
        for label in choice.bundle.label_set.labels
    ]
    return "\n".join([describe(choice.bundle), _("Values and codes:"), *codes])


def _versions(project: Project) -> list[ModelChoice]:
    choices: list[ModelChoice] = []
    try:
        store = project.store()
        lines = store.lines()
    except SkcdfError:
        return []
    for line in lines:
        try:
            versions = store.versions(line)
        except SkcdfError:
            continue
        for version in versions:
            try:
                bundle = ModelBundle.load(version.folder)
            except SkcdfError:
                continue
            choices.append(ModelChoice(version.reference, str(store.root), bundle, version.state))
    order = {"promoted": 0, "candidate": 1, "retired": 2}
    return sorted(choices, key=lambda choice: order[choice.state])
