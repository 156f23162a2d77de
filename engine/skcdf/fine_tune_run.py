"""A fine-tuning's folder: what it must remember beside settings and checkpoint, and whether it may be used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files
from .errors import SkcdfError
from .fine_tune_kept import Kept
from .fine_tune_request import FineTuneRequest
from .fine_tune_settings import resumed_settings
from .fine_tune_start import reference_of
from .models import MODEL_FILE
from .records import FieldError, plain_record, record_from_plain
from .run_folder import RUN_FILE
from .trainer import TrainingConfig
from .trainer.checkpoint import FILE_NAME
from .training_run import MODEL_FOLDER, SETTINGS_FILE, check_model_folder

SCHEMA = 1
COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True)
class RunRecord:
    """What a fine-tuning was asked for, and what came of it.

    Attributes:
        start: the start as the user named it; empty: from none.
        parent: the version that this meant when the run began: a line's promoted version may change meanwhile.
        name: of the outcome.
        time_budget_s: the user's; ``None``: none.
        stop_after_s: seconds of training after which it ends whatever happens; ``None``: never.
        store: the model store that the outcome enters; empty: none.
        preset: the user's; empty: written by an older version.
        asked: method and settings that the user chose, as `as_asked` writes them; the run's own settings hold what
            became of them.
        version: the outcome's version in the store, once it is there.
        finished: whether everything was done, but for the store.
        title: of the start, for people, once it is finished; empty: from none.
        notes: what a person should know of the outcome, a sentence each.
        kept: whose weights the outcome has, once it is finished; with ``start`` it enters no store.
    """

    start: str
    parent: str
    name: str
    time_budget_s: float | None = None
    stop_after_s: float | None = None
    store: str = ""
    preset: str = ""
    asked: str = ""
    version: str | None = None
    finished: bool = False
    title: str = ""
    notes: tuple[str, ...] = ()
    kept: Kept = "training"

    def save(self, run_folder: Path) -> None:
        """Writes the run's file."""
        files.write_json(run_folder / RUN_FILE, {"schema": SCHEMA, **plain_record(self)})

    def require_same(self, request: FineTuneRequest) -> None:
        """Raises `SkcdfError` when the user wants something else than the run's; empty: whatever it was."""
        run_folder = request.run_folder
        if request.time_budget_s not in (None, self.time_budget_s):
            raise SkcdfError(
                f"{run_folder}: the run in this folder was planned for another time budget.",
                "Leave it out to go on with the planned one, or give another folder to start anew.",
            )
        if self.preset and request.preset not in ("", self.preset):
            raise SkcdfError(
                f"{run_folder}: the run in this folder has preset {self.preset}, not {request.preset}.",
                "Leave it out to go on with that one, or give another folder to start anew.",
            )
        for what, wanted, own in (
            ("starts from", reference_of(request.start), {reference_of(self.start), self.parent}),
            ("is called", request.name, {self.name}),
        ):
            if wanted and wanted not in own:
                raise SkcdfError(
                    f"{run_folder}: the run in this folder {what} {sorted(own)[-1] or 'no model'}, not {wanted}.",
                    "Leave that out to go on with it, or give another folder to start anew.",
                )

    def settings_of(self, request: FineTuneRequest, stored: TrainingConfig) -> TrainingConfig:
        """The settings of the run that goes on; raises `SkcdfError` when the user has chosen others.

        Whoever says again what the run was begun with gets it: parent and time may have made something else of it.
        """
        return stored if self.asked == as_asked(request) else resumed_settings(stored, request)

    @classmethod
    def load(cls, run_folder: Path) -> RunRecord:
        """Reads the run's file.

        Raises:
            SkcdfError: it is missing, damaged or of another schema.
        """
        path = run_folder / RUN_FILE
        content: Any = files.read_json(path, "fine-tuning run")
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise SkcdfError(f"{path}: not a run of this version.", "Give another folder to start anew.")
        try:
            return record_from_plain(cls, content, str(path))
        except FieldError as error:
            raise SkcdfError(
                f"{path}: field {error.field} {error.problem}.", "Give another folder to start anew."
            ) from error


def as_asked(request: FineTuneRequest) -> str:
    """What the user chose of a training's settings, as one line to compare."""
    return json.dumps({**request.settings, "method": request.method}, sort_keys=True, default=repr)


def store_of(request: FineTuneRequest, record: RunRecord | None) -> Path | None:
    """The model store that the outcome enters: the one given, else the one that the run knows.

    Raises:
        SkcdfError: none is given, and the run's is not there.
    """
    if request.store is not None or record is None or not record.store:
        return request.store
    if not Path(record.store).exists():
        raise SkcdfError(
            f"{record.store}: the model store of this run is not there.",
            "Give the place where it is now by --store.",
        )
    return Path(record.store)


def stored_run(run_folder: Path, resume: bool) -> tuple[RunRecord, TrainingConfig] | None:
    """The run in a folder, to go on with; ``None`` where there is none yet.

    Args:
        run_folder: the folder.
        resume: whether the user wants to go on.

    Raises:
        SkcdfError: the folder holds a run and ``resume`` is false, or something that is no fine-tuning.
    """
    check_model_folder(run_folder)
    begun = (run_folder / FILE_NAME).exists() or (run_folder / MODEL_FOLDER / MODEL_FILE).exists()
    if begun and not resume:
        raise SkcdfError(
            f"{run_folder}: this folder holds a run already.",
            "Give --resume to go on with it, or another folder to start anew.",
        )
    if not begun and not (resume and (run_folder / SETTINGS_FILE).exists()):
        return None  # killed before its settings were complete: nothing is lost
    if not (run_folder / RUN_FILE).exists():
        raise SkcdfError(
            f"{run_folder}: this folder holds another run than a fine-tuning.",
            "Go on with it by the command that began it, or give another folder.",
        )
    settings = run_folder / SETTINGS_FILE
    config = TrainingConfig.from_json(files.read_json(settings, "settings of a run"), str(settings))
    return RunRecord.load(run_folder), config
