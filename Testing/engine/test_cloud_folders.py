"""Folders that are synchronised with servers are found out on every platform; ordinary ones are not accused."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from skcdf.cloud_folders import cloud_service, service_by_name
from skcdf.project import cloud_service as of_project

WINDOWS = {
    r"C:\Users\anna\OneDrive\Documents\liver": "OneDrive",
    r"C:\Users\anna\OneDrive - Uniklinik Bonn\liver": "OneDrive",
    r"D:\dropbox\x": "Dropbox",
    r"C:\Users\anna\Dropbox (Privat)\x": "Dropbox",
    r"C:\Users\anna\Acme Dropbox\Anna\x": "Dropbox",
    r"C:\Users\anna\iCloudDrive\x": "iCloud Drive",
    r"C:\Users\anna\Google Drive\x": "Google Drive",
    r"G:\My Drive\x": "Google Drive",
    r"C:\Users\anna\Nextcloud2\x": "Nextcloud",
    r"C:\Users\anna\Box\x": "Box",
    r"C:\Users\anna\sciebo\x": "sciebo",
}
MAC = {
    "/Users/anna/Library/CloudStorage/OneDrive-UniklinikBonn/x": "OneDrive",
    "/Users/anna/Library/CloudStorage/GoogleDrive-anna@example.org/My Drive/x": "Google Drive",
    "/Users/anna/Library/CloudStorage/Dropbox/x": "Dropbox",
    "/Users/anna/Library/CloudStorage/Egnyte-acme/x": "Egnyte",
    "/Users/anna/Library/Mobile Documents/com~apple~CloudDocs/x": "iCloud Drive",
    "/Users/anna/Box/x": "Box",
}
LINUX = {
    "/home/anna/Nextcloud/x": "Nextcloud",
    "/home/anna/ownCloud/x": "ownCloud",
    "/home/anna/Dropbox/x": "Dropbox",
    "/data/Seafile/x": "Seafile",
    "/home/anna/bwSyncShare/x": "bwSync&Share",
}


@pytest.mark.parametrize(("path", "service"), WINDOWS.items())
def test_names_on_windows(path: str, service: str) -> None:
    assert service_by_name(PureWindowsPath(path), {}) == service


@pytest.mark.parametrize(("path", "service"), {**MAC, **LINUX}.items())
def test_names_on_macos_and_linux(path: str, service: str) -> None:
    assert service_by_name(PurePosixPath(path), {}) == service


@pytest.mark.parametrize("variable", ["OneDrive", "OneDriveConsumer", "OneDriveCommercial"])
def test_onedrive_tells_where_it_is_whatever_its_folder_is_called(variable: str) -> None:
    environment = {variable: r"D:\Firma"}
    assert service_by_name(PureWindowsPath(r"d:\firma\Dokumente\liver"), environment) == "OneDrive"
    assert service_by_name(PureWindowsPath(r"D:\Firmament\liver"), environment) is None
    assert service_by_name(PureWindowsPath(r"D:\Firma\liver"), {variable: ""}) is None


@pytest.mark.parametrize(
    "path",
    [
        PureWindowsPath(r"C:\Users\anna\Documents\liver"),
        PureWindowsPath(r"D:\My Documents\Box\liver"),
        PureWindowsPath(r"\\server\share\liver"),
        PureWindowsPath(r"C:\data\My Drive tests"),
        PurePosixPath("/home/anna/box_of_scans"),
        PurePosixPath("/data/Box/mega"),
        PurePosixPath("/home/anna/dropbox-exports/x"),
        PurePosixPath("/srv/My Drive/x"),
    ],
)
def test_an_ordinary_folder_is_not_accused(path: PureWindowsPath | PurePosixPath) -> None:
    assert service_by_name(path, {}) is None


@pytest.mark.parametrize(
    ("marker", "service"),
    [
        (".dropbox.cache", "Dropbox"),
        (".nextcloudsync.log", "Nextcloud"),
        (".owncloudsync.log", "ownCloud"),
        (".shortcut-targets-by-id", "Google Drive"),
    ],
)
def test_a_renamed_folder_is_known_by_what_the_program_hides_in_it(marker, service, tmp_path) -> None:
    project = tmp_path / "Meine Ablage" / "a" / "project"
    assert cloud_service(project, {}, tmp_path) is None
    (tmp_path / "Meine Ablage").mkdir()
    (tmp_path / "Meine Ablage" / marker).write_bytes(b"")
    assert cloud_service(project, {}, tmp_path) == service
    assert cloud_service(tmp_path / "beside", {}, tmp_path) is None


def test_icloud_drive_may_have_taken_in_the_documents(tmp_path: Path) -> None:
    documents = tmp_path / "Documents" / "liver"
    assert cloud_service(documents, {}, tmp_path) is None
    (tmp_path / "Library" / "Mobile Documents" / "com~apple~CloudDocs" / "Documents").mkdir(parents=True)
    assert cloud_service(documents, {}, tmp_path) == "iCloud Drive"
    assert cloud_service(tmp_path / "Music", {}, tmp_path) is None


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_into_such_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "Nextcloud").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "Nextcloud")
    assert cloud_service(tmp_path / "link" / "project", {}, tmp_path) == "Nextcloud"


def test_variables_are_those_of_the_process(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OneDriveCommercial", str(tmp_path / "firm"))
    assert of_project(tmp_path / "firm" / "project") == "OneDrive"
    assert of_project(str(tmp_path / "other")) is None


def test_a_name_that_no_file_can_have_is_no_error(tmp_path: Path) -> None:
    assert cloud_service(tmp_path / ("x" * 300) / "y", {}, tmp_path) is None
