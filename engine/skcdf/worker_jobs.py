"""Hands a worker's requests to whoever does them; only those that need a model import torch.

To add requests that need no torch, write a module with a table of `Kinds` and name it in `_WITHOUT_TORCH`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .errors import SkcdfError
from .worker_evaluate_job import JOBS as EVALUATE_JOBS
from .worker_job import Content, Job, Kinds
from .worker_pool_jobs import JOBS as POOL_JOBS
from .worker_requests import Release

if TYPE_CHECKING:
    from .worker_model_jobs import ModelJobs

INSTALL_HINT = "Install PyTorch, in Slicer at the top of the module's panel; then start the worker again."
_WITHOUT_TORCH: Kinds = {**EVALUATE_JOBS, **POOL_JOBS}

_logger = logging.getLogger(__name__)


class Jobs:
    """Does what requests ask for, as far as it can without torch where that is missing.

    Args:
        device, precision: where and in which numbers to compute when a request does not say: see `choose_device`.
    """

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        self._options = (device, precision)
        self._with_model: ModelJobs | None = None
        self._missing = ""

    def prepare(self) -> dict[str, Any]:
        """Imports torch and tries the device, once.

        Returns:
            For ``hello``: ``torch``, ``device``, ``threads``, and why torch is ``missing``; what is not there is
            ``None``.
        """
        try:
            import torch

            from .worker_model_jobs import ModelJobs, use_all_cores_but_one
        except Exception as error:  # half an installation fails in more ways than one
            _logger.warning("PyTorch cannot be imported", exc_info=error)
            self._missing = f"{type(error).__name__}: {error}"
            return {"torch": None, "device": None, "threads": None, "missing": self._missing}
        threads = use_all_cores_but_one()
        self._with_model = ModelJobs(*self._options)
        device = self._with_model.device.description
        return {"torch": torch.__version__, "device": device, "threads": threads, "missing": None}

    @property
    def warm(self) -> str | None:
        """Name and version of the model in memory."""
        return None if self._with_model is None else self._with_model.warm

    def run(self, job: Job) -> Content:
        """Does one job.

        Raises:
            Cancelled: it was cancelled; no file was written.
            SkcdfError: it cannot be done; no file was written.
        """
        kind = type(job.request)
        if kind in _WITHOUT_TORCH:
            return _WITHOUT_TORCH[kind](job.request, job)
        if kind is Release:
            return {"freed": self.release()}
        return self._need_model().kinds[kind](job.request, job)

    def release(self) -> bool:
        """Lets go of the model and of GPU memory; returns whether there was a model."""
        return self._with_model is not None and self._with_model.release()

    def start_afresh(self) -> None:
        """Forgets model and devices after an unforeseen failure: a GPU that broke must be found out anew."""
        if self._with_model is not None:
            self._with_model.start_afresh()

    def _need_model(self) -> ModelJobs:
        if self._with_model is None and not self._missing:
            self.prepare()
        if self._with_model is None:
            raise SkcdfError(
                f"This needs PyTorch, which cannot be used here ({self._missing}).", INSTALL_HINT
            )
        return self._with_model
