"""A folder for a computer without network: made by the real pip from wheels on disk, carried, checked."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from skcdf.cli import main
from skcdf.errors import SkcdfError
from skcdf.models import default_model
from skcdf.offline_bundle import check_bundle, make_bundle, requirements, seal_bundle, wheels_of


def wheel(folder: Path, name: str, version: str) -> None:
    """A package that holds nothing, as pip takes it."""
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(
            f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{information}/RECORD", "")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Where pip finds packages instead of on the network."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for name, version in (
        ("torch", "2.3.1"),
        ("torch", "2.1.0"),
        ("safetensors", "0.5.0"),
        ("nibabel", "5.3.0"),
    ):
        wheel(folder, name, version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return folder


@pytest.fixture
def bundle(registry, tmp_path):
    return make_bundle(tmp_path / "stick", [default_model()])


def test_it_holds_wheels_and_models_and_survives_being_carried(bundle, tmp_path):
    carried = tmp_path / "hospital" / "stick"
    shutil.copytree(bundle, carried)
    names = sorted(path.relative_to(carried).as_posix() for path in carried.rglob("*") if path.is_file())
    assert names == [
        "SHA256SUMS",
        "models/phantom13.zip",
        "wheels/nibabel-5.3.0-py3-none-any.whl",
        "wheels/safetensors-0.5.0-py3-none-any.whl",
        "wheels/torch-2.3.1-py3-none-any.whl",
    ]
    assert check_bundle(carried) == []
    assert wheels_of(carried) == wheels_of(carried / "wheels") == carried / "wheels"


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_the_systems_own_program_can_check_it(bundle):
    def check():
        return subprocess.run(
            ["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=bundle, capture_output=True
        ).returncode

    assert check() == 0
    (bundle / "models" / "phantom13.zip").write_bytes(b"another one")
    assert check() != 0


def test_whatever_was_changed_lost_or_slipped_in_is_named(bundle):
    torch = bundle / "wheels" / "torch-2.3.1-py3-none-any.whl"
    torch.write_bytes(torch.read_bytes()[:-1] + b"x")
    (bundle / "models" / "phantom13.zip").unlink()
    wheel(bundle / "wheels", "nibabel", "9.9.9")
    assert check_bundle(bundle) == [
        "wheels/nibabel-9.9.9-py3-none-any.whl: is not in SHA256SUMS",
        "models/phantom13.zip: is missing",
        "wheels/torch-2.3.1-py3-none-any.whl: is not what was packed",
    ]
    with pytest.raises(SkcdfError, match=r"nibabel-9.9.9.*\(and 2 more\)"):
        wheels_of(bundle)


def test_what_a_file_manager_left_on_the_stick_changes_nothing(bundle):
    for name in ("wheels/.DS_Store", "models/Thumbs.db", "wheels/._torch-2.3.1-py3-none-any.whl"):
        (bundle / name).write_bytes(b"\0")
    assert check_bundle(bundle) == []
    assert wheels_of(bundle) == bundle / "wheels"
    seal_bundle(bundle)
    (bundle / "wheels/.DS_Store").unlink()
    assert check_bundle(bundle) == []


@pytest.mark.slow
def test_a_failed_collecting_leaves_no_checksums_and_can_be_gone_on_with(registry, tmp_path):
    hidden = registry / "nibabel-5.3.0-py3-none-any.whl"
    hidden.rename(tmp_path / hidden.name)
    with pytest.raises(SkcdfError, match="pip could not collect"):
        make_bundle(tmp_path / "stick")
    with pytest.raises(SkcdfError, match="there is no SHA256SUMS"):
        check_bundle(tmp_path / "stick")
    (tmp_path / hidden.name).rename(hidden)
    assert check_bundle(make_bundle(tmp_path / "stick")) == []


def test_somebody_elses_folder_is_left_alone(registry, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear", "utf-8")
    for folder in (tmp_path, tmp_path / "letter.txt"):
        with pytest.raises(SkcdfError, match="holds something else"):
            make_bundle(folder)
    assert not (tmp_path / "wheels").exists()


def test_wheels_that_were_collected_by_hand_are_sealed_and_without_checksums_taken_as_they_are(tmp_path):
    assert wheels_of(tmp_path) == tmp_path
    with pytest.raises(SkcdfError, match="nothing to carry"):
        seal_bundle(tmp_path)
    wheel(tmp_path, "torch", "2.3.1")
    assert seal_bundle(tmp_path) == 1 and wheels_of(tmp_path) == tmp_path
    wheel(tmp_path, "torch", "2.4.0")
    with pytest.raises(SkcdfError, match="is not in SHA256SUMS"):
        wheels_of(tmp_path)


def test_a_list_that_is_none_is_told(tmp_path):
    (tmp_path / "SHA256SUMS").write_text("good\n", "utf-8")
    with pytest.raises(SkcdfError, match="is no list of checksums"):
        check_bundle(tmp_path)


def test_the_command_makes_seals_and_checks(registry, tmp_path, capfd):
    stick = str(tmp_path / "stick")
    assert main(["bundle", "make", stick, "--model", "phantom13"]) == 0
    assert main(["bundle", "check", stick]) == 0 and "good" in capfd.readouterr().out
    (tmp_path / "stick" / "models" / "phantom13.zip").unlink()
    assert main(["bundle", "check", stick]) == 1
    said = capfd.readouterr()
    assert "models/phantom13.zip: is missing" in said.out and "1 problem." in said.err
    assert main(["bundle", "seal", stick]) == 0 and main(["bundle", "check", stick]) == 0


def test_what_it_collects_is_what_the_module_needs():
    assert requirements() == ("torch>=2.2", "safetensors>=0.4", "nibabel>=5.2")


@pytest.mark.slow
def test_checking_needs_the_standard_library_alone(bundle):
    code = (
        "import sys\n"
        "for name in ('torch', 'safetensors', 'nibabel', 'scipy', 'SimpleITK'): sys.modules[name] = None\n"
        "from skcdf.cli import main\n"
        f"sys.exit(main(['bundle', 'check', {str(bundle)!r}]))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
