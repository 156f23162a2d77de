"""Which processes `torchrun` has started here, and which cannot work together."""

from __future__ import annotations

import pytest
import torch
from torch import distributed as dist

from skcdf.errors import SkcdfError
from skcdf.launch import Launch, launched
from skcdf.ranks import joined

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason="this torch cannot connect processes by gloo",
)


class TestLaunch:
    @pytest.fixture
    def two_here(self, monkeypatch) -> None:
        for name, value in zip(("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"), "1212", strict=True):
            monkeypatch.setenv(name, value)

    def test_is_known_from_the_environment(self, two_here):
        assert launched() == Launch(rank=1, processes=2, local_rank=1, local_processes=2)

    def test_needs_all_of_torchruns_variables(self, two_here, monkeypatch):
        monkeypatch.delenv("LOCAL_RANK")
        assert launched() == Launch()

    def test_more_processes_than_gpus_are_refused(self, two_here, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with (
            pytest.raises(SkcdfError, match="2 processes train here, and there are 1 GPUs"),
            joined("cuda", "", ""),
        ):
            pass

    def test_an_apple_gpu_is_refused(self, two_here):
        with pytest.raises(SkcdfError, match="cannot share device mps"), joined("mps", "", ""):
            pass
