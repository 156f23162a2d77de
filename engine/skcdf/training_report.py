"""What happens to a new model: it segments the pinned validation cases, and the run's report is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from .cases import Dataset
from .device import Device
from .errors import SkcdfError
from .image import read_image, read_label_map
from .image_hash import voxel_hash
from .inference import Predictor
from .metrics import OrganScore, OrganSummary, evaluate_case, summarize
from .models import Accuracy, ModelBundle, save_bundle
from .picture import overlay_picture
from .progress import CancelToken, Progress, ProgressCallback, ignore_progress
from .report import LossPoint, ReportPicture, TrainingReport, ValidationPoint, write_report
from .trainer import Trainer

REPORT_FILE = "report.html"
PICTURES = 3
"""Validation cases that are shown."""


@dataclass(frozen=True)
class Validation:
    """A model on the pinned validation cases.

    Attributes:
        summary: organ by organ; empty without such cases.
        protocol: which cases.
        pictures: of the first few cases.
        scores: of every case, organ by organ.
    """

    summary: tuple[OrganSummary, ...] = ()
    protocol: str = ""
    pictures: tuple[ReportPicture, ...] = ()
    scores: tuple[Sequence[OrganScore], ...] = ()


def validate_model(
    model: ModelBundle,
    dataset: Dataset,
    device: Device,
    *,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
) -> tuple[ModelBundle, Validation]:
    """Segments the pinned validation cases and keeps the accuracy in the bundle.

    Args:
        model: a saved one.
        dataset: whose validation cases.
        device: where to compute.
        progress: called after every case.
        cancel: obeyed before every window.

    Returns:
        The model with its accuracy, saved again, and what was found.

    Raises:
        Cancelled: the token was raised; the model is as it was.
        SkcdfError: a validation scan was trained on, or cannot be read.
    """
    predictor = Predictor(model, device)
    scores: list[Sequence[OrganScore]] = []
    pictures: list[ReportPicture] = []
    for index, case in enumerate(dataset.validation):
        assert case.label is not None  # what `validation` means
        reference = read_label_map(case.label)
        scan = read_image(case.image)
        if voxel_hash(scan) in model.training.image_hashes:
            raise SkcdfError(
                f"{case.image}: this validation scan was trained on.",
                "Take it out of one of the two splits and train again.",
            )
        found = predictor.segment(scan, cancel=cancel).label_map.array
        spacing = reference.geometry.array_spacing
        scores.append(
            evaluate_case(found, reference.array, dataset.label_set, spacing, annotated=case.annotated)
        )
        if len(pictures) < PICTURES and find_spec("PIL"):
            picture = overlay_picture(scan, found, reference.array, dataset.label_set)
            pictures.append(ReportPicture(f"Validation case {case.name}: reference, prediction", picture))
        progress(Progress("validate", index + 1, len(dataset.validation)))
    protocol = f"the {len(scores)} pinned validation cases of data set {dataset.name}"
    if dataset.protocol:
        protocol += f", protocol {dataset.protocol}"
    summary = tuple(summarize(scores))
    assert model.folder is not None  # it was exported
    measured = replace(model, metrics=_accuracies(summary, protocol))
    keys = model.weights.inference_keys if model.weights else "all"
    saved = save_bundle(model.folder, measured, model.load_weights(), inference_keys=keys)
    return saved, Validation(summary, protocol, tuple(pictures), tuple(scores))


def _accuracies(summary: Sequence[OrganSummary], protocol: str) -> tuple[Accuracy, ...]:
    return tuple(
        Accuracy(
            each.organ,
            "dice",
            each.dice.mean,
            each.dice.sd if each.dice.n > 1 else None,
            each.dice.n,
            protocol,
        )
        for each in summary
        if each.dice.n
    )


def write_training_report(
    trainer: Trainer,
    model: ModelBundle,
    dataset: Dataset,
    device: Device,
    validation: Validation,
    command: str,
    notes: Sequence[str] = (),
) -> Path:
    """Writes ``report.html`` into the run's folder; returns its path.

    Args:
        trainer: after its run.
        model: what came out.
        dataset: what it was trained on.
        device: where.
        validation: of ``model``.
        command: what makes the run again.
        notes: what a person should know of the outcome, a sentence each.
    """
    state, config = trainer.state, trainer.config
    report = TrainingReport(
        title=f"Training of {model.name}",
        notice=model.notice,
        protocol=dataset.protocol,
        method=f"{config.method} ({config.compat})",
        settings=config.to_json(),
        data={
            "data set": dataset.name,
            "modality": dataset.modality,
            "labelled cases": len(trainer.labelled),
            "unlabelled cases": len(trainer.unlabelled),
            "validation cases": len(dataset.validation),
        },
        device=device.description,
        seconds=state.seconds,
        seconds_per_iteration=state.seconds / max(1, state.iteration),
        peak_memory_bytes=device.peak_memory(),
        losses=[LossPoint(iteration, {"total": total, **parts}) for iteration, total, parts in state.history],
        validations=[ValidationPoint(iteration, organs) for iteration, _, organs in state.validations],
        chosen_iteration=state.best[0] if state.best else None,
        accuracy=validation.summary,
        accuracy_protocol=validation.protocol,
        pictures=validation.pictures,
        command=command,
        notes=notes,
    )
    path = trainer.run_folder / REPORT_FILE
    write_report(path, report)
    return path
