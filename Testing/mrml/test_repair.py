"""Packages that are there and do not work are replaced, by the real pip in a real environment, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
import venv
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from child_process import PlainChildProcess
from wheel_files import makeWheel, putInstalled

from skcdf.errors import SkcdfError
from SKCDFSegmenterLib.Installation import Installation


@pytest.fixture
def environment(tmp_path):
    """The folder of packages of an environment that has none."""
    venv.create(tmp_path / "environment", with_pip=False, symlinks=True)
    return next((tmp_path / "environment" / "lib").glob("python*")) / "site-packages"


@pytest.fixture
def pip(slicer, monkeypatch, environment):
    """Slicer's pip, of a Slicer before 5.12, which installs into the environment."""
    python = environment.parents[2] / "bin" / "python"

    def run(command, arguments):
        options = ["--disable-pip-version-check", "--python", str(python), command, *arguments]
        done = subprocess.run([sys.executable, "-m", "pip", *options], capture_output=True, text=True)
        print(done.stdout + done.stderr)
        done.check_returncode()

    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", lambda arguments: run("install", arguments))
    return run


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


def found(environment: Path, **states: str) -> Installation:
    """An installation whose doctor has found these states."""
    packages = {name: {"state": states.get(name, "ready")} for name in ("torch", "safetensors", "nibabel")}
    said = json.dumps({"packages": packages, "site_packages": str(environment)})
    installation = Installation(lambda: [sys.executable, "-c", f"print({said!r})"], PlainChildProcess)
    installation.wait()
    return installation


@pytest.mark.slow
def test_a_package_of_which_half_is_left_is_replaced(environment, pip, wheels, tmp_path, monkeypatch):
    putInstalled(makeWheel(wheels, "nibabel", "5.3.0"), environment)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    (environment / "nibabel" / "__init__.py").unlink()
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("safetensors>=0.4\nnibabel>=5.2\n")
    makeWheel(wheels, "safetensors", "0.5.0")
    found(environment, nibabel="half", safetensors="missing").installRequirements(requirements)
    assert (environment / "nibabel" / "__init__.py").exists(), "its description says that it is there"
    assert (environment / "safetensors").exists()


@pytest.mark.slow
def test_a_repair_from_a_folder_leaves_alone_what_the_packages_need(environment, pip, wheels):
    numpy = makeWheel(wheels, "numpy", "1.0")
    putInstalled(numpy, environment)
    numpy.unlink()  # NumPy is Slicer's, and not among the wheels
    makeWheel(wheels, "nibabel", "5.3.0", needs="numpy")
    putInstalled(makeWheel(wheels, "torch", "2.3.1"), environment)
    (environment / "torch" / "__init__.py").unlink()
    found(environment, torch="half", nibabel="missing").installFromFolder(wheels)
    assert (environment / "torch" / "__init__.py").exists() and (environment / "nibabel").exists()


@pytest.mark.slow
def test_what_cannot_be_removed_is_told_with_its_place(slicer, environment, pip, wheels, monkeypatch):
    putInstalled(makeWheel(wheels, "torch", "2.3.1"), environment)
    next(environment.glob("torch-*/RECORD")).unlink()
    installed = []

    class Logic:
        def uninstallTorch(self):
            pip("uninstall", ["--yes", "torch"])

        def installTorch(self, **options):
            installed.append(options)

    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = Logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    installation = found(environment, torch="half")
    heard = []
    installation.failed.connect(heard.append)
    with pytest.raises(SkcdfError, match="cannot be removed") as raised:
        installation.installTorch()
    assert str(environment) in raised.value.hint and "network" not in str(raised.value)
    assert "pip install" not in str(raised.value), "what pip advises is not for a clinician"
    assert "RECORD" in heard[0] and not installed
