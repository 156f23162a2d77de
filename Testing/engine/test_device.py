"""Why the processor computes is said in words that need no knowledge of how PyTorch was built."""

from __future__ import annotations

import sys

import pytest
import torch

from skcdf.device import choose_device


@pytest.fixture
def no_graphics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("system", "build", "why"),
    [
        ("linux", None, "the installed PyTorch cannot use NVIDIA graphics cards"),
        ("linux", "12.6", "there is no NVIDIA graphics card that PyTorch can use"),
        ("win32", "12.6", "there is no NVIDIA graphics card that PyTorch can use"),
        ("darwin", None, "there are no Apple graphics that PyTorch can use"),
    ],
)
def test_only_the_graphics_that_this_system_can_have_are_missed(
    no_graphics: None, monkeypatch: pytest.MonkeyPatch, system: str, build: str | None, why: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(torch.version, "cuda", build)
    device = choose_device("auto", "fp32")
    threads = torch.get_num_threads()
    assert device.name == "cpu"
    assert device.description == f"CPU, {threads} threads, because {why} (float32)"


def test_graphics_that_were_asked_for_are_missed_on_any_system(no_graphics: None) -> None:
    assert "because there are no Apple graphics" in choose_device("mps").description
    assert "NVIDIA" in choose_device("cuda").description


def test_who_asks_for_the_processor_is_told_no_reason() -> None:
    assert "because" not in choose_device("cpu").description


@pytest.mark.parametrize(
    ("right", "why"),
    [
        (False, "this Mac's graphics computed a test wrongly"),
        (None, "this Mac's graphics failed in a test (no kernel)"),
    ],
)
def test_graphics_that_do_not_work_are_not_used(
    monkeypatch: pytest.MonkeyPatch, right: bool | None, why: str
) -> None:
    def probe(name: str) -> torch.Tensor:
        if name == "mps" and right is None:
            raise RuntimeError("no kernel\nmore")
        return torch.ones(2) if name == "cpu" else torch.zeros(2)

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr("skcdf.device._probe", probe)
    device = choose_device("mps")
    assert device.name == "cpu" and f"because {why} (" in device.description
