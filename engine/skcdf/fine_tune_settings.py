"""Which settings a fine-tuning runs with: the user's, the run's that is resumed, the parent's, the preset's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .cases import Dataset
from .device import Device
from .errors import SkcdfError
from .fine_tune_request import FineTuneRequest
from .models import ModelBundle
from .plan import PATCH_STEP, Budget, make_plan
from .plan import PRESETS as SCRATCH_ITERATIONS
from .plugins import PLUGINS
from .preprocessing import PreprocessingPlan
from .progress import CancelToken
from .recipes import published_recipe
from .survey import Survey
from .trainer import TrainingConfig
from .trainer.rehearsal import Rehearsal
from .trainer.transfer import start_of

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"iterations": 150, "learning_rate": 0.02, "validations": 3},
    "standard": {"iterations": 600, "learning_rate": 0.02, "validations": 6},
    "published": {},
}
"""Settings from a parent; `docs/fine-tuning.md` §4 has the figures. ``published`` takes `published_recipe`."""
PUBLISHED_RATE = 0.12
"""The published 0.3, lowered as the standard preset's rate is lowered against a training from none (0.05)."""
DECIDES_METHOD = frozenset({"method", "method_options", "compat"})
"""Who sets one of these has a method in mind."""
WARM_UP_SHARE = 0.1
LONGEST_WARM_UP = 100
TIED = ("preprocessing", "filters")
"""What weights cannot be moved from."""
COMPARING_MARGIN = 1.5
EXPORT_S = 2.0
STEP_MARGIN = 1.1
FEW_STEPS = 30
"""Fewer are hardly a training, and whoever gave the time should know."""
FEWEST_PLANNED = SCRATCH_ITERATIONS["quick"]
"""A training of fewer steps is planned as one of so many: measuring takes some 30 by itself."""
VALIDATIONS_SHARE = 0.3
"""Most of the time that validations on the way may take."""


@dataclass(frozen=True)
class TimePlan:
    """What fits a time budget.

    Attributes:
        config: the settings, with fewer iterations and validations where time is short.
        stop_after_s: seconds of training after which it ends whatever happens.
    """

    config: TrainingConfig
    stop_after_s: float


def chosen_method(method: str, preset: str, dataset: Dataset) -> str:
    """``method``, or what the preset and the pool suggest where it is empty."""
    if preset not in PRESETS:
        raise SkcdfError(f"There is no preset called {preset}.", f"Take one of {', '.join(PRESETS)}.")
    return method or ("skcdf" if dataset.unlabelled or preset == "published" else "supervised")


def settings_from_parent(
    parent: ModelBundle, dataset: Dataset, method: str, preset: str, chosen: Mapping[str, Any]
) -> TrainingConfig:
    """Settings of a training that starts from ``parent``, whose preprocessing, patch and filters it keeps.

    Args:
        parent: the model.
        dataset: what to train on.
        method: its name.
        preset: key of `PRESETS`.
        chosen: what the user has decided, by name in `TrainingConfig`.

    Raises:
        SkcdfError: a setting is not known, has a value that it cannot have, or is tied to the parent's weights.
    """
    _check_names(chosen, "spacing")
    tied: dict[str, Any] = {
        "preprocessing": PreprocessingPlan.from_json(parent.preprocessing, parent.name),
        "filters": int(parent.network.arguments.get("filters", 16)),
    }
    chosen = dict(chosen)
    if "spacing" in chosen:  # it is part of the preprocessing
        plan = tied["preprocessing"]
        chosen["preprocessing"] = replace(plan, spacing=chosen.pop("spacing"), shape=None)
    for name in TIED:
        if name in chosen and chosen[name] != tied[name]:
            raise SkcdfError(
                f"The weights of {parent.name} are tied to its {name}: another cannot be chosen.",
                "Leave it out, or start from none.",
            )
    values: dict[str, Any] = {**tied, "patch_size": parent.patch_size, "method": method, **PRESETS[preset]}
    if preset == "published":
        recipe = published_recipe(len(dataset.unlabelled or dataset.labelled))
        values |= {
            name: value for name, value in recipe.items() if name not in ("method", "patch_size", *TIED)
        }
        values["learning_rate"] = PUBLISHED_RATE
    config = TrainingConfig(**{**values, **chosen, **_kept_plugin(parent, chosen)})
    config = replace(config, method_options=_fitting_options(config, parent))
    if "warm_up" not in chosen and start_of(config, dataset.label_set, parent).fresh:
        config = replace(config, warm_up=min(LONGEST_WARM_UP, round(WARM_UP_SHARE * config.iterations)))
    return config


def settings_from_none(
    survey: Survey,
    dataset: Dataset,
    device: Device,
    method: str,
    preset: str,
    chosen: Mapping[str, Any],
    minutes: float | None,
    cancel: CancelToken,
) -> tuple[TrainingConfig, str]:
    """Settings of a training that starts from none, planned as ``skcdf train`` plans, and what to know of them.

    A method that nobody chose is SKCDF where there are unlabelled scans and patches are large enough for it; see
    `docs/fine-tuning.md` §4.

    Args:
        survey: of ``dataset``.
        dataset: what to train on.
        device: where.
        method: its name; empty: what suits pool and patch.
        preset: key of `PRESETS`.
        chosen: what the user has decided, by name in `TrainingConfig`; ``spacing``, too.
        minutes: what the training may take with all its iterations; ``None``: what plans usually assume.
        cancel: obeyed before every measured step.

    Raises:
        Cancelled: the token was raised.
        SkcdfError: a setting is not known, or has a value that it cannot have.
    """
    _check_names(chosen, "spacing")
    suggested = chosen_method(method, preset, dataset)
    if preset == "published":
        values = published_recipe(len(dataset.unlabelled or dataset.labelled))
    else:
        values = {"iterations": SCRATCH_ITERATIONS[preset]}
    iterations = max({**values, **chosen}["iterations"], FEWEST_PLANNED)
    budget = Budget() if minutes is None else Budget(minutes=minutes, iterations=iterations)

    def planned(method: str) -> TrainingConfig:
        settings = {**values, "method": method, **chosen}
        return make_plan(survey, dataset.label_set, device, budget, settings, cancel).config

    config = planned(suggested)
    is_decided = method or preset == "published" or DECIDES_METHOD & chosen.keys()
    if is_decided or config.method != "skcdf" or math.prod(config.patch_size) > PATCH_STEP**3:
        return config, ""
    return planned("supervised"), small_patch_note(config)


def small_patch_note(config: TrainingConfig) -> str:
    """Why the method is another than unlabelled scans suggest."""
    patch = " x ".join(map(str, config.patch_size))
    return (
        f"SKCDF, which learns from unlabelled scans, would be left with patches of {patch} voxels, from which "
        "supervised training learns more: this training takes the labelled cases alone. With more time, more memory "
        "or a GPU patches are larger. A method that you choose yourself is kept."
    )


def resumed_settings(stored: TrainingConfig, request: FineTuneRequest) -> TrainingConfig:
    """The settings of the run that goes on.

    Raises:
        SkcdfError: the user has chosen others.
    """
    wanted = {**request.settings, **({"method": request.method} if request.method else {})}
    spacing = wanted.pop("spacing", None)  # it became part of the preprocessing plan
    _check_names(wanted)
    asked = replace(stored, **wanted)
    others = [name for name in wanted if getattr(asked, name) != getattr(stored, name)]
    if spacing is not None and tuple(spacing) != stored.preprocessing.spacing:
        others.append("spacing")
    if others:
        raise SkcdfError(
            f"{request.run_folder}: the run in this folder has other settings: {', '.join(others)}.",
            "Leave them out to go on with it, or give another folder to start anew.",
        )
    return stored


def within_time(config: TrainingConfig, rehearsal: Rehearsal, budget_s: float, spent_s: float) -> TimePlan:
    """Cuts iterations and validations so that everything ends within a budget.

    Reserved for: loading (spent already), the validations, and after the training the export and three more passes
    over the validation cases: for the report and for the comparison of both models.

    Args:
        config: the settings without a budget.
        rehearsal: measured times.
        budget_s: seconds for all.
        spent_s: of these, what is gone already.

    Raises:
        SkcdfError: there is no time for a single step.
    """
    reserve = EXPORT_S + COMPARING_MARGIN * 3 * rehearsal.validation
    available = budget_s - spent_s - reserve
    validations = config.validations
    if rehearsal.validation and validations:
        affordable = VALIDATIONS_SHARE * available / rehearsal.validation - 1  # the start's
        validations = max(1, int(min(validations, affordable)))
    passes = validations + 1 if rehearsal.validation else 0
    affordable = (available - passes * rehearsal.validation) / (STEP_MARGIN * rehearsal.step)
    steps = int(min(config.iterations, affordable))
    if steps < 1:
        least = spent_s + reserve + 2 * rehearsal.validation + 10 * STEP_MARGIN * rehearsal.step
        raise SkcdfError(
            f"The time budget of {budget_s:.0f} s is too short: {spent_s:.0f} s were needed to load and measure, "
            f"{reserve:.0f} s are needed to compare, and a step takes {rehearsal.step:.2f} s.",
            f"Give at least {least:.0f} s; a training worth its name needs some hundred steps.",
        )
    warm_up = round(config.warm_up * steps / config.iterations)
    return TimePlan(replace(config, iterations=steps, validations=validations, warm_up=warm_up), available)


def few_steps_notes(plan: TimePlan) -> list[str]:
    """What a person should know of a plan that has hardly time to train; nothing where it has."""
    steps = plan.config.iterations
    if steps >= FEW_STEPS:
        return []
    return [
        f"ONLY {steps} STEP{'S' * (steps != 1)} FIT INTO THE TIME: hardly a training. Give it more, or try again when "
        "the computer is less busy."
    ]


def _fitting_options(config: TrainingConfig, parent: ModelBundle) -> dict[str, Any]:
    """The method's options: SKC where the parent has it, the global block's heads read as its weights mean them."""
    options = dict(config.method_options)
    if config.method == "skcdf" and parent.network.name == "skcdf":
        consistent = bool(parent.network.arguments.get("consistent_heads", True))
        if consistent != (config.compat == "corrected"):
            options.setdefault("heads", "consistent" if consistent else "permuted")
        if not parent.network.arguments.get("skc", True):
            options.setdefault("skc", False)
    return options


def _kept_plugin(parent: ModelBundle, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The plug-in that the parent's segmentation needs, as it was, unless the user decides otherwise."""
    companion = parent.network.arguments.get("companion")
    if companion is None or chosen.get("plugin", companion["name"]) != companion["name"]:
        return {}
    name, options = companion["name"], chosen.get("plugin_options", {})
    own = {} if "preset" in options else PLUGINS[name].options_of(companion)
    return {"plugin": name, "plugin_options": {**own, **options}}


def _check_names(chosen: Mapping[str, Any], *more: str) -> None:
    known = {*(each.name for each in fields(TrainingConfig)), *more}
    for name in chosen:
        if name not in known:
            raise SkcdfError(f"There is no setting called {name}.", f"Known are {', '.join(sorted(known))}.")
