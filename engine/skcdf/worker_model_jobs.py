"""What a worker does with a model, request by request, and the model that stays warm between them."""

from __future__ import annotations

import contextlib
import gc
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .check import check_input
from .comparison import compare_models
from .datasets import Case, Dataset, open_dataset
from .device import Device, choose_device
from .errors import SkcdfError
from .image import Image, check_output_name, read_image, write_label_map
from .inference import Choices, Pace, Predictor
from .model_store import ModelStore, find_version_or_model
from .models import ModelBundle, default_model
from .organ_rows import organ_rows
from .records import to_plain
from .review import rank_cases
from .worker_job import Content, Job, Kinds, plain
from .worker_requests import Check, Compare, Rank, Segment

MIB = 1 << 20


class ModelJobs:
    """Does the requests that need torch.

    Args:
        device, precision: where and in which numbers to compute when a request does not say: see `choose_device`.
    """

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        self._default, self._precision = device, precision
        self._devices: dict[str, Device] = {}
        self._warm: Predictor | None = None
        self._paces: dict[tuple[str, str], Pace] = {}
        self.kinds: Kinds = {
            Segment: self._segment,
            Check: self._check,
            Rank: self._rank,
            Compare: self._compare,
        }

    @property
    def device(self) -> Device:
        """Where requests are computed that do not say where."""
        return self._device("auto")

    @property
    def warm(self) -> str | None:
        """Name and version of the model in memory."""
        return None if self._warm is None else _title(self._warm.bundle)

    def release(self) -> bool:
        """Lets go of the model and of GPU memory; returns whether there was a model."""
        had, self._warm = self._warm is not None, None
        gc.collect()
        with contextlib.suppress(RuntimeError):  # a GPU that has failed refuses this, too
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            elif torch.backends.mps.is_available():
                torch.mps.empty_cache()
        return had

    def start_afresh(self) -> None:
        """Forgets model and devices after an unforeseen failure: a GPU that broke must be found out anew."""
        self._devices.clear()
        self.release()

    def _device(self, name: str) -> Device:
        name = self._default if name == "auto" else name
        if name not in self._devices:
            self._devices[name] = choose_device(name, self._precision)
        return self._devices[name]

    def _predictor(self, bundle: ModelBundle, device: Device) -> Predictor:
        """The model in memory; read again when another is asked for, or when its folder has changed."""
        warm = self._warm
        same = warm is not None and (warm.bundle.folder, warm.bundle) == (bundle.folder, bundle)
        if warm is None or not same or warm.device != device:
            self.release()  # first: two large models may not fit
            self._warm = warm = Predictor(bundle, device)
        return warm

    def _segment(self, request: Segment, job: Job) -> Content:
        output = Path(request.output)
        _check_output(output, Path(request.image))
        job.enter("model")
        predictor = self._predictor(_model(request.model, request.store), self._device(request.device))
        model, choices = predictor.bundle, _choices(request)
        choices.check_organs(model.label_set)  # before a large scan is read
        job.enter("read")
        image = read_image(request.image)
        warnings = _warnings(image, model, choices)
        for warning in warnings:
            job.say("warning", **warning)
        job.cancel.raise_if_cancelled()
        result = predictor.segment(
            image, choices, progress=job.progress, cancel=job.cancel, places=request.places
        )
        self._pace(predictor).learn(result)
        content = {
            "output": request.output,
            "model": _title(model),
            "model_hash": model.weights.sha256 if model.weights else None,
            "notice": model.notice,
            "device": predictor.device.description,
            "organs": [asdict(row) for row in organ_rows(image, result, model, choices)],
            "warnings": warnings,
            "notes": list(result.notes),
            "places": to_plain(result.places),
            "windows": result.windows,
            "seconds": round(result.seconds, 3),
        }
        content = plain(content)
        job.enter("write")  # the last safe point: nothing after the file may fail
        note = f"{model.notice} {_title(model)}"
        write_label_map(output, result.label_map.array, image.geometry, note=note)
        return content

    def _check(self, request: Check, job: Job) -> Content:
        job.enter("model")
        predictor = self._predictor(_model(request.model, request.store), self._device(request.device))
        model, choices = predictor.bundle, _choices(request)
        choices.check_organs(model.label_set)
        job.enter("read")
        image = read_image(request.image)
        warnings = _warnings(image, model, choices)
        job.enter("estimate")
        estimate = self._pace(predictor).estimate(predictor, image, choices, job.cancel)
        memory = estimate.memory_bytes
        return {
            "model": _title(model),
            "device": predictor.device.description,
            "warnings": warnings,
            "windows": estimate.windows,
            "seconds": round(estimate.seconds, 3),
            "memory_mib": None if memory is None else round(memory / MIB),
            "measured": estimate.measured,
        }

    def _pace(self, predictor: Predictor) -> Pace:
        """What is known of the speed of a model on a device, however often both were let go in between."""
        weights = predictor.bundle.weights
        key = (weights.sha256 if weights else "", predictor.device.description)
        return self._paces.setdefault(key, Pace())

    def _rank(self, request: Rank, job: Job) -> Content:
        job.enter("read")
        cases = _cases(open_dataset(request.pool, allow_missing_unlabelled=True), request.cases)
        model, device = _model(request.model, request.store), self._device(request.device)
        items = rank_cases(cases, model, device, **_options(request.cache, job))
        return {"model": _title(model), "cases": plain(to_plain(items))}

    def _compare(self, request: Compare, job: Job) -> Content:
        job.enter("read")
        dataset = open_dataset(request.pool)
        before = _model(request.before, request.store) if request.before else None
        after, device = _model(request.after, request.store), self._device(request.device)
        comparison = compare_models(before, after, dataset, device, **_options(request.cache, job))
        return {"comparison": plain(comparison.to_json()), "text": comparison.text()}


def use_all_cores_but_one() -> int:
    """One thread less than torch would take: the application stays responsive; returns how many there are.

    Who has set ``OMP_NUM_THREADS`` has decided, and gets them all.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    return torch.get_num_threads()


def _title(model: ModelBundle) -> str:
    return f"{model.name} {model.version}"


def _model(reference: str, store: str) -> ModelBundle:
    if not reference:
        return default_model()
    return find_version_or_model(reference, ModelStore.open(store) if store else None)


def _choices(request: Segment | Check) -> Choices:
    memory = None if request.memory_mib is None else int(request.memory_mib * MIB)
    return Choices(request.organs, request.region, request.overlap, memory)


def _warnings(image: Image, model: ModelBundle, choices: Choices) -> list[Content]:
    region = choices.cropped(image).geometry if choices.region else None
    return [asdict(warning) for warning in check_input(image, model, region)]


def _check_output(output: Path, image: Path) -> None:
    check_output_name(output)
    if output.resolve() == image.resolve():
        raise SkcdfError(f"{output}: the scan would be written over.", "Give the label map another name.")


def _cases(dataset: Dataset, names: tuple[str, ...]) -> tuple[Case, ...]:
    """The named cases, all unlabelled ones where none is named."""
    by_name = {case.name: case for case in dataset.cases}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise SkcdfError(f"{dataset.root}: there is no case {unknown[0]}.", "Name cases of the pool.")
    rankable = {case.name for case in dataset.unlabelled}
    others = [name for name in names if name not in rankable]
    if others:
        raise SkcdfError(
            f"{dataset.root}: {others[0]} {_why_not_ranked(by_name[others[0]])}; only unlabelled training cases are "
            "ranked.",
            "Leave it out, or name no case: then all unlabelled ones are ranked.",
        )
    chosen = tuple(by_name[name] for name in names) if names else dataset.unlabelled
    if not chosen:
        raise SkcdfError(f"{dataset.root}: there is no unlabelled case to rank.", "Add scans to the pool.")
    return chosen


def _why_not_ranked(case: Case) -> str:
    return "is a validation case" if case.split == "validation" else "is labelled already"


def _options(cache: str, job: Job) -> dict[str, Any]:
    folder = Path(cache) if cache else None
    return {"cache_folder": folder, "progress": job.progress, "cancel": job.cancel}
