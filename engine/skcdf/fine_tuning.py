"""Fine-tuning: a model, a pool of corrected cases, and a better model as their outcome (`docs/fine-tuning.md`).

`fine_tune` is the one door for the command line, the worker and Python. It says nothing itself: progress, cancelling
and words go through its callbacks.
"""

from __future__ import annotations

import math
import re
import shlex
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from . import files
from .comparison import Comparison, compare_models
from .datasets import open_dataset
from .device import choose_device
from .fine_tune_kept import Kept, nothing_gained, what_was_kept
from .fine_tune_request import FineTuneOutcome, FineTuneRequest
from .fine_tune_run import COMPARISON_FILE, RunRecord, as_asked, store_of, stored_run
from .fine_tune_settings import (
    chosen_method,
    few_steps_notes,
    settings_from_none,
    settings_from_parent,
    within_time,
)
from .fine_tune_start import (
    Parent,
    as_unlabelled,
    borrowed_note,
    borrowed_organs,
    find_parent,
    leak_note,
    require_labelled,
    trained_on,
    unknown_note,
    with_findings,
    without_cases,
    without_leaks,
    without_unknown_organs,
)
from .fine_tune_store import enter_store, require_free_name, stored_version
from .launch import launched
from .model_store import ModelStore
from .model_version import ModelVersion
from .models import ModelBundle
from .progress import CancelToken, Progress, ProgressCallback, duration, ignore_progress
from .ranks import from_first, joined
from .run_folder import alone_in, require_begun
from .survey import Survey, survey_dataset
from .trainer import Trainer, TrainingConfig, VolumeCache
from .trainer.checkpoint import FILE_NAME, TrainingState, read_state
from .trainer.export import Lineage
from .trainer.rehearsal import rehearse
from .trainer.transfer import Transfer, start_of
from .training_figures import Observer, ignore_figures
from .training_report import Validation, validate_model, write_training_report
from .training_run import MODEL_FOLDER, SETTINGS_FILE, Volumes, data_of, export_run, load_volumes

CACHE_GIB = 4.0
__all__ = ["FineTuneOutcome", "FineTuneRequest", "fine_tune"]

ADVICE = "Going on with --resume starts from the last checkpoint."


def fine_tune(
    request: FineTuneRequest,
    *,
    progress: ProgressCallback = ignore_progress,
    cancel: CancelToken | None = None,
    say: Callable[[str], None] = lambda sentence: None,
    alone: bool = False,
    observe: Observer = ignore_figures,
) -> FineTuneOutcome:
    """Fine-tunes a model, compares it with its parent, and adds it to the store as a candidate.

    Where no step was better on the validation cases than the start, the start is the outcome, and the outcome says so
    (`FineTuneOutcome.kept`); where that is the parent itself, nothing is compared or added.

    Args:
        request: what is wanted.
        progress: called after every case, step and validation.
        cancel: obeyed within one step, window or case.
        say: takes what a person should read, a sentence or a table at a time.
        observe: gets the curves' points and the class balance while it trains.
        alone: the caller sees to it that no other program works in the run's folder (`alone_in`).

    Raises:
        Cancelled: the token was raised; where the training had begun, its checkpoint is on the disk.
        SkcdfError: another program works in the run's folder, there is no run to resume, nothing is labelled, the
            start, the folder or a setting does not fit, or a file cannot be read.
    """
    if request.resume:
        require_begun(request.run_folder)
    with (
        nullcontext() if alone else alone_in(request.run_folder)
    ):  # before anything is read, until all is done
        return _FineTuning(request, progress, cancel or CancelToken(), say, observe).run()


@dataclass
class _FineTuning:
    """One fine-tuning in one process."""

    request: FineTuneRequest
    progress: ProgressCallback
    cancel: CancelToken
    say: Callable[[str], None]
    observe: Observer

    def __post_init__(self) -> None:
        self._begin = time.monotonic()
        self._notes: list[str] = []
        self._record: RunRecord | None = None
        self._config: TrainingConfig | None = None
        self._parent: Parent | None = None
        self._kept: Kept = "training"

    def run(self) -> FineTuneOutcome:
        request = self.request
        stored = stored_run(request.run_folder, request.resume)
        if stored is not None:
            self._record, self._config = stored
        elif request.resume:
            self.say(f"{request.run_folder}: the run stopped before it had begun to train: it begins anew")
        self._store = store_of(request, self._record)
        if self._record is not None:
            self._record.require_same(request)
            assert self._config is not None  # stored with it
            self._config = self._record.settings_of(request, self._config)
            self._keep_store(self._record)
        if self._record is not None and self._record.finished:
            return self._as_finished(self._record)
        start = self._record.parent if self._record else request.start
        self._parent = find_parent(start, self._store)
        self._name = self._outcome_name()
        if self._store is not None and launched().rank == 0:
            store = ModelStore.open(self._store, create=True)  # now, not after hours of training
            require_free_name(self._name, store)
        else:
            require_free_name(self._name, None)
        self._dataset = open_dataset(request.pool)
        require_labelled(self._dataset)
        self._leave_out_unknown()
        self._leave_out_leaks()
        self._device = choose_device(request.device, request.precision)
        self.say(f"device: {self._device.description}")
        survey = self._prepare() if launched().rank == 0 else None
        with joined(self._device.name, str(self._device.precision), ADVICE):
            self._config = from_first(self._config)
            with VolumeCache(request.run_folder, CACHE_GIB) as cache:
                trainer = self._train(cache)
                model = from_first(export_run(trainer, self._name, self._dataset, survey, self._lineage()))
        assert model is not None  # what the first process has written
        seconds = trainer.state.seconds
        if launched().rank > 0:
            return FineTuneOutcome(model, None, None, seconds, tuple(self._notes), self._kept)
        return self._finish(trainer, model)

    # before the training

    def _keep_store(self, record: RunRecord) -> None:
        """Keeps another store than the run began with, and tells."""
        if self._store is None or (store := str(self._store.resolve())) == record.store:
            return
        if record.store:
            self.say(f"the outcome enters {store}, not {record.store}, which this run knew")
        self._record = replace(record, store=store, version=None)
        if launched().rank == 0:
            self._record.save(self.request.run_folder)

    def _outcome_name(self) -> str:
        if self._record is not None:
            return self._record.name
        folder = re.sub(r"[^A-Za-z0-9._-]+", "_", self.request.run_folder.resolve().name).lstrip("._-")
        line = self._parent.line if self._parent else ""
        return self.request.name or line or folder[:64] or "model"

    def _leave_out_unknown(self) -> None:
        mirror = self._config.mirror if self._config else bool(self.request.settings.get("mirror"))
        parent = self._parent.bundle if self._parent else None
        self._dataset, names = without_unknown_organs(self._dataset, parent, mirror)
        if names:
            self._note(unknown_note(names))

    def _leave_out_leaks(self) -> None:
        if self._parent is None:
            return
        self._dataset, leaked = without_leaks(self._dataset, self._parent.bundle)
        if leaked:
            self._note(leak_note(leaked, self._parent))

    def _prepare(self) -> Survey:
        """What the first process alone does before it joins: figures of the data, and the settings."""
        survey = survey_dataset(self._dataset, self._obedient)
        request = self.request
        if self._config is not None:
            return survey
        preset, data, chosen = request.preset or "standard", self._dataset, request.settings
        if self._parent is not None:
            method = chosen_method(request.method, preset, data)
            self._config = settings_from_parent(self._parent.bundle, data, method, preset, chosen)
            return survey
        minutes = request.time_budget_s / 60 if request.time_budget_s else None
        self.progress(Progress("plan", 0, 1))  # it measures steps, which may take a minute
        self._config, note = settings_from_none(
            survey, data, self._device, request.method, preset, chosen, minutes, self.cancel
        )
        if note:
            self._note(note)
        self.progress(Progress("plan", 1, 1))
        return survey

    def _obedient(self, report: Progress) -> None:
        """Progress of work that knows no token."""
        self.cancel.raise_if_cancelled()
        self.progress(report)

    # the training

    def _train(self, cache: VolumeCache) -> Trainer:
        config = self._settings
        # now, not after reading every scan
        parent = self._parent.bundle if self._parent else None
        organs = borrowed_organs(self._dataset, parent, config.mirror)
        volumes = load_volumes(self._dataset, config, cache, self.progress, self.cancel, self.say)
        data = data_of(volumes, self._dataset.label_set)
        if "unlabelled" in volumes and not volumes["unlabelled"]:
            volumes["unlabelled"] = as_unlabelled(volumes["labelled"])
            self._note(
                "There are no unlabelled scans: the labelled ones, without their labels, take their place. "
                "That is sound, and teaches little more than the labels alone."
            )
        transfer = None
        if self._parent is not None:
            self._check_read_volumes(volumes, self._parent)
            if organs:
                volumes["labelled"] = with_findings(
                    volumes["labelled"],
                    organs,
                    self._parent.bundle,
                    self._device,
                    seed=config.seed,
                    progress=self.progress,
                    cancel=self.cancel,
                )
                self._note(borrowed_note(organs, self._dataset, self._parent))
                data["stand_in"] = [self._dataset.label_set.names[value - 1] for value in organs]
            transfer = start_of(config, self._dataset.label_set, self._parent.bundle)
            self.say(f"start weights: {transfer.parts}")
            for note in transfer.notes:
                self._note(note)
        if self._record is None:
            self._decide(volumes, transfer)
        trainer = self._trainer(volumes, transfer, data)
        state = trainer.run()
        self.say(f"trained {state.iteration} iterations in {duration(state.seconds)}")
        if state.best:
            self.say(f"best on validation after {state.best[0]} iterations: mean Dice {state.best[1]:.3f}")
        self._kept = what_was_kept(trainer)
        if self._parent is not None and self._kept != "training":
            self._note(nothing_gained(self._kept, trainer, self._parent), first=True)
        return trainer

    @property
    def _settings(self) -> TrainingConfig:
        assert self._config is not None  # `_prepare` has decided
        return self._config

    def _check_read_volumes(self, volumes: Volumes, parent: Parent) -> None:
        """Leaves out validation scans that turn out to be known, in data sets that do not say so before."""
        leaked = trained_on(volumes.get("validation", []), parent.bundle)
        if leaked:
            volumes["validation"] = [each for each in volumes["validation"] if each.name not in leaked]
            self._dataset = without_cases(self._dataset, leaked)
            self._note(leak_note(leaked, parent))

    def _decide(self, volumes: Volumes, transfer: Transfer | None) -> None:
        """Settles iterations, and writes down what a resumed run must find again."""
        request = self.request
        stop_after_s = None
        if request.time_budget_s is not None:
            trainer = self._trainer(volumes, transfer, {})
            rehearsal = rehearse(trainer)
            del trainer
            spent = from_first(time.monotonic() - self._begin)
            plan = within_time(self._settings, rehearsal, request.time_budget_s, spent)
            self._config, stop_after_s = plan.config, plan.stop_after_s
            for note in few_steps_notes(plan):
                self._note(note)
        parent = self._parent
        self._record = RunRecord(
            request.start,
            parent.reference if parent else "",
            self._name,
            request.time_budget_s,
            stop_after_s,
            str(self._store.resolve()) if self._store else "",
            request.preset or "standard",
            as_asked(request),
        )
        if launched().rank == 0:
            self._record.save(request.run_folder)
            files.write_json(request.run_folder / SETTINGS_FILE, self._settings.to_json())
        config = self._settings
        start = parent.title if parent else "none"
        self.say(f"method {config.method}, {config.iterations} iterations, started from {start}")

    def _trainer(self, volumes: Volumes, transfer: Transfer | None, data: dict[str, object]) -> Trainer:
        limit = self._record.stop_after_s if self._record else None
        return Trainer(
            self._settings,
            self._dataset.label_set,
            volumes["labelled"],
            volumes.get("unlabelled", []),
            self.request.run_folder,
            self._device,
            data,
            self.progress,
            self.cancel,
            volumes.get("validation", []),
            transfer,
            math.inf if limit is None else limit,
            self.observe,
        )

    # after the training, by the first process alone

    def _lineage(self) -> Lineage | None:
        if self._parent is None:
            return None
        return Lineage(self._parent.bundle, self._parent.title, tuple(self._notes))

    def _finish(self, trainer: Trainer, model: ModelBundle) -> FineTuneOutcome:
        request, dataset, device = self.request, self._dataset, self._device
        validation = Validation()
        if dataset.validation:
            model, validation = validate_model(
                model, dataset, device, progress=self.progress, cancel=self.cancel
            )
        write_training_report(trainer, model, dataset, device, validation, self._command(), self._notes)
        comparison = None
        if self._kept != "start":  # a model beside itself tells nothing
            comparison = compare_models(
                self._parent.bundle if self._parent else None,
                model,
                dataset,
                device,
                progress=self.progress,
                cancel=self.cancel,
                gained=self._kept == "training",
            )
            files.write_json(request.run_folder / COMPARISON_FILE, comparison.to_json())
            self.say(comparison.text())
        self.cancel.raise_if_cancelled()  # a candidate is the last thing to appear
        assert self._record is not None  # `_decide` made it
        title, notes = self._parent.title if self._parent else "", tuple(self._notes)
        self._record = replace(self._record, finished=True, title=title, notes=notes, kept=self._kept)
        self._record.save(request.run_folder)
        version = self._version_of(model, self._record, trainer.state)
        return FineTuneOutcome(model, version, comparison, trainer.state.seconds, notes, self._kept)

    def _version_of(self, model: ModelBundle, record: RunRecord, state: TrainingState) -> ModelVersion | None:
        """The finished run's version in the store, which it enters where it is not there yet."""
        if self._store is None or launched().rank > 0 or record.kept == "start":
            return None
        store = ModelStore.open(self._store, create=True)
        if record.version is not None:
            return stored_version(store, record.name, record.version)
        version = enter_store(store, record, model, state.data, self._settings.to_json())
        replace(record, version=version.version).save(self.request.run_folder)
        return version

    def _as_finished(self, record: RunRecord) -> FineTuneOutcome:
        """The outcome of a run that was done before."""
        folder = self.request.run_folder
        self.say(f"{folder}: this run is finished")
        model = ModelBundle.load(folder / MODEL_FOLDER)
        path, comparison = folder / COMPARISON_FILE, None
        if record.kept != "start":
            comparison = Comparison.from_json(files.read_json(path, "comparison"), str(path))
        state = read_state(folder / FILE_NAME)
        version = self._version_of(model, record, state)
        return FineTuneOutcome(model, version, comparison, state.seconds, record.notes, record.kept)

    def _command(self) -> str:
        request = self.request
        options = {"--model": request.start, "--store": self._store, "--name": request.name}
        options |= {"--method": request.method, "--preset": request.preset}
        given = [str(each) for pair in options.items() if pair[1] for each in pair]
        return shlex.join(["skcdf", "finetune", str(request.pool), str(request.run_folder), *given])

    def _note(self, sentence: str, *, first: bool = False) -> None:
        self._notes.insert(0 if first else len(self._notes), sentence)
        self.say(f"note: {sentence}")
