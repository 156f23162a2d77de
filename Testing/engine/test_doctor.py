"""``skcdf doctor`` in real Pythons with real and with damaged packages: what it says, whatever torch does to it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from base64 import urlsafe_b64encode
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import skcdf
from skcdf import doctor as doctor_module
from skcdf.doctor import TORCH_WITH_CUDA_BYTES, Doctor
from skcdf.package_states import REQUIRED

ENGINE = Path(skcdf.__file__).parents[1]
WORKING_TORCH = """
class _Tensor:
    def numpy(self): return self
    def sum(self): return 3
def ones(_count): return _Tensor()
"""


def install(folder: Path, name: str, version: str, code: str, **files: str) -> None:
    """Puts a package into a folder as pip does: files, description, record of what there should be."""
    content = {f"{name}/__init__.py": code, **{f"{name}/{key}.py": text for key, text in files.items()}}
    rows = []
    for path, text in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    (info / "RECORD").write_text("\n".join(rows) + "\n", "utf-8")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages that comes first on the path."""
    (tmp_path / "packages").mkdir()
    return tmp_path / "packages"


def doctor(packages: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(packages), str(ENGINE))), **variables}
    command = [sys.executable, "-X", "utf8", "-m", "skcdf", "doctor", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=120)


@pytest.fixture
def run(packages: Path):
    return partial(doctor, packages)


def reports(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def done(folder) -> subprocess.CompletedProcess[str]:
    """A run with the real packages, which is asked whether it may write into a folder that is not there."""
    return doctor(folder / "packages", "--json", "--folder", str(folder / "new" / "project"))


@pytest.mark.slow
class TestHere:
    """This Python, which runs the tests, has everything."""

    def test_all_is_ready_and_the_device_is_named(self, done) -> None:
        first, last = reports(done)
        assert done.returncode == (1 if last["problems"] else 0)
        assert {each["state"] for each in last["packages"].values()} == {"ready"}
        assert set(last["packages"]) == {"torch", "safetensors", "nibabel"}
        assert last["device"] and last["needed_bytes"] == 0 and last["free_bytes"] > 0
        assert last["writable"] is True and last["long_paths"] is True
        assert last["python"] == sys.executable and Path(last["site_packages"]).is_dir()
        assert first["packages"]["torch"]["state"] == "broken" and first["needed_bytes"] > 0

    def test_people_get_lines(self, folder) -> None:
        done = doctor(folder / "packages")
        assert "torch: ready" in done.stdout and "device: " in done.stdout and "nibabel: ready" in done.stdout

    def test_nothing_is_left_where_it_has_tried_to_write(self, done, folder) -> None:
        last = reports(done)[-1]
        assert not list(Path(last["site_packages"]).glob(".skcdf-*"))
        assert list(folder.iterdir()) == []


class TestTorch:
    @pytest.fixture(autouse=True)
    def others(self, packages) -> None:
        """The other packages are there and soon imported."""
        for name in ("safetensors", "nibabel"):
            install(packages, name, "9.0", "")

    @pytest.mark.parametrize(
        "death", ["import os; os.abort()", "import ctypes; ctypes.string_at(0)", "import os; os._exit(3)"]
    )
    def test_one_that_ends_the_process_leaves_the_rest_readable(self, death, run, packages) -> None:
        install(packages, "torch", "2.5.1", death)
        done = run("--json")
        (report,) = reports(done)
        assert done.returncode not in (0, 1)
        assert report["packages"]["torch"] == {
            "state": "broken",
            "version": "2.5.1",
            "detail": "Importing it ends the process, or never ends.",
        }
        assert report["packages"]["nibabel"]["state"] == "ready" and report["needed_bytes"] > 10**9
        said = run().stdout
        assert "nibabel: ready" in said and said.rstrip().endswith("torch: looking …")

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("raise ImportError('DLL load failed while importing _C')", "ImportError: DLL load failed"),
            ("raise OSError('[WinError 126] c10.dll')", "OSError: [WinError 126] c10.dll"),
            ("import sys; sys.exit(1)", "SystemExit"),
            ("", "has no attribute 'ones'"),
            (WORKING_TORCH.replace("return 3", "return 4"), "computes wrongly"),
            (WORKING_TORCH, "AttributeError"),  # it computes, and then lacks what the engine asks it for
        ],
    )
    def test_one_that_does_not_work_is_broken_in_its_own_words(self, code, words, run, packages) -> None:
        install(packages, "torch", "2.5.1", code)
        done = run("--json")
        last = reports(done)[-1]
        assert done.returncode == 1 and last["packages"]["torch"]["state"] == "broken"
        assert words in last["packages"]["torch"]["detail"] and last["device"] is None

    def test_one_that_is_too_old_is_not_even_imported(self, run, packages) -> None:
        install(packages, "torch", "2.1.2+cu118", "import os; os.abort()")
        (report,) = reports(run("--json"))
        assert report["packages"]["torch"]["state"] == "broken"
        assert "Version 2.1.2+cu118 is too old; 2.2" in report["packages"]["torch"]["detail"]

    @pytest.mark.parametrize("damage", ["gone", "cut"])
    def test_an_interrupted_installation_is_half(self, damage, run, packages) -> None:
        install(packages, "torch", "2.5.1", "import os; os.abort()", nn="x = 1\n" * 100)
        file = packages / "torch" / "nn.py"
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:100])
        (report,) = reports(run("--json"))
        assert report["packages"]["torch"]["state"] == "half"
        assert "1 of its 2 files are missing or cut off: torch/nn.py" in report["packages"]["torch"]["detail"]


class TestWithoutPackages:
    """A Python that has nothing but its standard library."""

    @pytest.fixture
    def bare(self, packages: Path):
        def bare(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
            paths = os.pathsep.join((str(packages), str(ENGINE)))
            kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP") if name in os.environ}
            environment = {**kept, "PYTHONPATH": paths, "HOME": str(packages), **variables}
            command = [sys.executable, "-S", "-X", "utf8", "-m", "skcdf", "doctor", *arguments]
            return subprocess.run(
                command, env=environment, capture_output=True, encoding="utf-8", timeout=120
            )

        return bare

    def test_it_speaks_with_the_standard_library_alone(self, bare) -> None:
        done = bare("--json")
        (report,) = reports(done)
        assert done.returncode == 1 and done.stderr == ""
        assert {each["state"] for each in report["packages"].values()} == {"missing"}
        assert report["device"] is None
        said = [problem["message"] for problem in report["problems"]]
        assert "The Python package numpy is missing." in said
        assert not any("torch" in message.lower() for message in said), "that it is missing is no obstacle"

    def test_what_a_failed_removal_leaves_is_half(self, bare, packages) -> None:
        (packages / "torch" / "lib").mkdir(parents=True)  # no __init__.py: Python takes it for a namespace
        (packages / "~afetensors").mkdir()
        (packages / "~afetensors" / "x.pyd").write_bytes(b"x")
        install(packages, "nibabel", "5.2", "")
        (packages / "nibabel" / "__init__.py").unlink()
        (packages / "nibabel").rmdir()
        (report,) = reports(bare("--json"))
        states = {name: (each["state"], each["detail"]) for name, each in report["packages"].items()}
        assert states["torch"] == ("half", f"It cannot be imported, but there is {packages / 'torch'}.")
        assert states["safetensors"][0] == "half" and "~afetensors" in states["safetensors"][1]
        assert states["nibabel"] == ("half", "It cannot be imported, but there is its description.")

    def test_files_without_description_are_half(self, bare, packages) -> None:
        (packages / "torch").mkdir()
        (packages / "torch" / "__init__.py").write_text("", "utf-8")
        (report,) = reports(bare("--json"))
        assert report["packages"]["torch"]["state"] == "half"

    def test_network_settings_are_told_without_passwords(self, bare, tmp_path) -> None:
        (tmp_path / "pip.ini").write_text(
            "[global]\nproxy = http://anna:geheim@proxy:8080\nno-index = true\n", "utf-8"
        )
        done = bare(
            "--json",
            HTTPS_PROXY="http://anna:geheim@proxy.klinik.example:3128",
            http_proxy="proxy.klinik.example:3128",
            ALL_PROXY="socks5://proxy:1080",
            SSL_CERT_FILE=str(tmp_path / "none.pem"),
            PIP_CONFIG_FILE=str(tmp_path / "pip.ini"),
        )
        (report,) = reports(done)
        assert "geheim" not in done.stdout + bare().stdout
        assert report["proxy"]["HTTPS_PROXY"] == "http://***@proxy.klinik.example:3128"
        assert report["proxy"]["pip proxy"] == "http://***@proxy:8080"
        said = {problem["message"]: problem["hint"] for problem in report["problems"]}
        by_name = {message.split()[0]: message for message in said if not message.startswith("pip")}
        assert "no address of a proxy" in by_name["HTTP_PROXY"]
        assert said[by_name["HTTP_PROXY"]] == "Write http://proxy.klinik.example:3128."
        assert "SOCKS" in by_name["ALL_PROXY"] and "not there" in by_name["SSL_CERT_FILE"]
        assert "pip no-index forbids pip to use the network." in said
        assert "HTTPS_PROXY" not in by_name


class TestPlace:
    """The place where packages go, seen through the functions, as no test may fill a disk."""

    def missing_torch(self, monkeypatch: pytest.MonkeyPatch, site: Path) -> Doctor:
        monkeypatch.setattr(doctor_module.sysconfig, "get_path", lambda name: str(site))
        monkeypatch.setattr(doctor_module, "REQUIRED", {"torch": (99,), "safetensors": (), "nibabel": ()})
        return Doctor(environment={})

    def test_one_that_cannot_be_written_is_told(self, monkeypatch, tmp_path) -> None:
        (tmp_path / "file").write_bytes(b"")
        report = self.missing_torch(monkeypatch, tmp_path / "file").look()
        assert not report.writable and report.long_paths is None
        assert "you may not write into it" in report.problems[0].message

    def test_one_that_lies_too_deep_is_told_by_trying(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(doctor_module, "LONGEST_FILE", 5000)  # Linux allows 4096, as Windows does 260
        report = self.missing_torch(monkeypatch, tmp_path).look()
        if sys.platform == "win32":
            pytest.skip("this Windows may allow long paths")
        assert report.writable and report.long_paths is False
        assert "too deep" in report.problems[0].message
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_is_told_with_what_is_needed(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(doctor_module, "_free_bytes", lambda folder: 2**30)
        report = self.missing_torch(monkeypatch, tmp_path).look()
        assert report.free_bytes == 2**30 and report.needed_bytes > 2**30
        assert "1.0 GiB are free there; installing takes about" in report.problems[0].message

    @pytest.mark.slow
    def test_a_little_room_is_told_in_numbers_that_say_something(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(doctor_module, "_free_bytes", lambda folder: 3 * 2**20)
        problem = self.missing_torch(monkeypatch, tmp_path).look().problems[0]
        assert "3 MiB are free there; installing takes about" in problem.message
        assert any(
            "only 3 MiB are free" in each.message for each in Doctor(tmp_path).look(trusting=True).problems
        )

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the ordinary build has no CUDA")
    def test_slicers_own_python_takes_the_build_for_the_driver(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(doctor_module, "_has_nvidia_driver", lambda environment: False)
        plain = self.missing_torch(monkeypatch, tmp_path)
        assert plain.look().needed_bytes == TORCH_WITH_CUDA_BYTES
        in_slicer = Doctor(environment={"SLICER_HOME": "/opt/Slicer"})
        assert in_slicer.look().needed_bytes < TORCH_WITH_CUDA_BYTES

    def test_where_nothing_lacks_nothing_is_in_the_way(self, monkeypatch) -> None:
        monkeypatch.setattr(doctor_module, "_free_bytes", lambda folder: 0)
        monkeypatch.setattr(doctor_module, "_can_be_deep", lambda probe, length: False)
        report = Doctor(environment={"HTTP_PROXY": "nonsense"}).look(trusting=True)
        assert report.problems == () and report.ready

    @pytest.mark.slow
    def test_the_folder_to_work_in_is_looked_at(self, tmp_path, monkeypatch) -> None:
        (tmp_path / "file").write_bytes(b"")
        assert "cannot be written" in Doctor(tmp_path / "file" / "x").look(trusting=True).problems[0].message
        cloud = Doctor(tmp_path / "Nextcloud" / "x").look(trusting=True)
        assert "synchronised with Nextcloud" in cloud.problems[0].message
        assert Doctor(tmp_path / "x").look(trusting=True).problems == ()
        monkeypatch.setattr(doctor_module, "_free_bytes", lambda folder: 2**20)
        assert "free there" in Doctor(tmp_path).look(trusting=True).problems[0].message


def test_what_it_asks_for_is_what_the_package_and_the_module_need() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    module = (root / "SKCDFSegmenter" / "Resources" / "requirements.txt").read_text("utf-8").split()
    for name, oldest in REQUIRED.items():
        wanted = f"{name}>={'.'.join(map(str, oldest))}"
        assert wanted in project["dependencies"]
        assert wanted in module or name == "torch"
