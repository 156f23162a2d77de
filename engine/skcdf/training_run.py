"""What ``skcdf train`` and fine-tuning share: a data set's volumes in, a model out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .cases import Case, Dataset
from .errors import SkcdfError
from .labels import LabelSet
from .methods import method_class
from .models import MODEL_FILE, ModelBundle
from .progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .survey import Survey
from .trainer import Trainer, TrainingConfig, TrainingVolume, VolumeCache, export_bundle, load_volume
from .trainer.export import Lineage

SETTINGS_FILE = "settings.json"
"""A run's settings, in its folder."""
MODEL_FOLDER = "model"
"""What came out, in the run's folder."""

Volumes = dict[str, list[TrainingVolume]]
"""``labelled``, and where a training reads them ``unlabelled`` and ``validation``."""


def check_model_folder(run_folder: Path) -> None:
    """Refuses, before the training instead of after it, a folder that the model cannot replace."""
    folder = run_folder / MODEL_FOLDER
    if folder.exists() and not (folder / MODEL_FILE).is_file():
        raise SkcdfError(
            f"{folder}: is there already and is no model.",
            "Move it away, or give another folder for the run.",
        )


def needed_parts(config: TrainingConfig) -> list[str]:
    """The parts of a data set that a training reads."""
    unlabelled = method_class(config.method).uses_unlabelled
    return ["labelled", *["unlabelled"] * unlabelled, *["validation"] * bool(config.validations)]


def load_volumes(
    dataset: Dataset,
    config: TrainingConfig,
    cache: VolumeCache,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
    say: Callable[[str], None] | None = None,
) -> Volumes:
    """Reads and preprocesses the cases that a training needs.

    Args:
        dataset: the cases.
        config: says which, and how.
        cache: keeps them.
        progress: called after every case.
        cancel: obeyed before every case.
        say: gets a line on what `TrainingConfig.surroundings` will do, where it is asked for.

    Raises:
        Cancelled: the token was raised.
        SkcdfError: a case cannot be read, or does not fit.
    """
    label_set = dataset.label_set
    volumes = {
        kind: _load(getattr(dataset, kind), kind, label_set, config, cache, progress, cancel)
        for kind in needed_parts(config)
    }
    if config.surroundings and say is not None:
        say(_surroundings_line(volumes))
    return volumes


def _load(
    cases: Sequence[Case],
    kind: str,
    label_set: LabelSet,
    config: TrainingConfig,
    cache: VolumeCache,
    progress: ProgressCallback,
    cancel: CancelToken | None,
) -> list[TrainingVolume]:
    volumes = []
    for index, case in enumerate(cases):
        if cancel is not None:
            cancel.raise_if_cancelled()
        painted = config.surroundings and kind != "validation"
        volume = load_volume(case, label_set, config.preprocessing, config.seed, surroundings=painted)
        volumes.append(cache.keep(volume))
        progress(Progress(f"load {kind} cases", index + 1, len(cases)))
    return volumes


def _surroundings_line(volumes: Volumes) -> str:
    trained = [each for kind, found in volumes.items() if kind != "validation" for each in found]
    masked = sum(volume.surroundings is not None for volume in trained)
    return (
        f"couch, head-rest and air noise are painted round {masked} of {len(trained)} training scans; "
        "the air of the others is no single value, and stays as it is"
    )


def data_of(volumes: Volumes, label_set: LabelSet) -> dict[str, object]:
    """What a checkpoint keeps of the data, so that it is resumed with the same."""
    fingerprints = {kind: [each.fingerprint for each in found] for kind, found in volumes.items()}
    return {**fingerprints, "labels": label_set.names}


def export_run(
    trainer: Trainer, name: str, dataset: Dataset, survey: Survey | None, lineage: Lineage | None = None
) -> ModelBundle | None:
    """Writes the model; it is the first process's, which alone has surveyed the data. All processes must call this.

    Args:
        trainer: after its run.
        name: the model's.
        dataset: what it was trained on.
        survey: of ``dataset``; ``None`` in other processes than the first.
        lineage: the model that it started from, if any.
    """
    if survey is not None:
        folder = trainer.run_folder / MODEL_FOLDER
        return export_bundle(folder, name, trainer, dataset, survey, lineage)
    if trainer.state.best is None:
        trainer.weights()  # the first process gathers batch statistics now, and needs the others' share
    return None
