"""Whether a folder is synchronised with somebody's servers: scans in it would leave the computer.

It is told by what the programs themselves leave: environment variables, the names that they give to their folders on
Windows, macOS and Linux, and hidden files in them. A folder that was renamed and holds none of these is not found out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath

# OneDrive alone tells in variables where it is (Windows), also where Documents and Desktop lie in it.
_VARIABLES = ("OneDrive", "OneDriveConsumer", "OneDriveCommercial")
_NAMES = tuple(
    (re.compile(pattern, re.IGNORECASE), service)
    for pattern, service in (
        (r"OneDrive( ?- ?.+)?", "OneDrive"),
        (r"(.+ )?Dropbox( \(.+\))?", "Dropbox"),
        (r"iCloud ?Drive|com~apple~CloudDocs|Mobile Documents", "iCloud Drive"),
        (r"Google ?Drive( ?- ?.+)?", "Google Drive"),
        (r"Nextcloud\d*", "Nextcloud"),
        (r"ownCloud\d*( - .+)?", "ownCloud"),
        (r"sciebo", "sciebo"),
        (r"bwSync ?(And|&)? ?Share", "bwSync&Share"),
        (r"Box Sync|Box-Box", "Box"),
        (r"Seafile|SeaDrive.*", "Seafile"),
        (r"Synology ?Drive", "Synology Drive"),
        (r"pCloud ?(Drive|Sync)", "pCloud"),
        (r"Proton ?Drive( ?- ?.+)?", "Proton Drive"),
        (r"MEGA ?sync", "MEGA"),
        (r"Tresorit( Drive)?", "Tresorit"),
        (r"Yandex\.Disk.*", "Yandex Disk"),
        (r"MagentaCLOUD", "MagentaCLOUD"),
    )
)
# Words that name other folders, too, so they count in a person's own folder only.
_NAMES_AT_HOME = {"box": "Box", "mega": "MEGA"}
_HOMES = {"users", "home"}
_MAC_STORAGE = "CloudStorage"
"""In ~/Library; below it macOS keeps the folder of every such program as ``Service-account``."""
_GOOGLE_ROOT = re.compile(r"(My Drive|Shared drives)", re.IGNORECASE)
_MARKERS = {
    ".dropbox.cache": "Dropbox",
    ".nextcloudsync.log": "Nextcloud",
    ".owncloudsync.log": "ownCloud",
    ".shortcut-targets-by-id": "Google Drive",
    ".tmp.drivedownload": "Google Drive",
}
_MAC_DRIVE = ("Library", "Mobile Documents", "com~apple~CloudDocs")


def cloud_service(
    folder: Path | str, environment: Mapping[str, str] | None = None, home: Path | None = None
) -> str | None:
    """The service that carries a folder's content to its servers, as people call it; ``None``: none that is known.

    Args:
        folder: the folder; it need not be there yet.
        environment: variables; ``None``: this process's.
        home: the person's folder; ``None``: that of whoever runs this.
    """
    variables = os.environ if environment is None else environment
    given = Path(os.path.abspath(folder))
    for path in dict.fromkeys((given, _resolved(given))):  # a link may lead into such a folder
        found = service_by_name(path, variables) or _by_marker(path) or _in_mac_documents(path, home)
        if found:
            return found
    return None


def service_by_name(path: PurePath, environment: Mapping[str, str]) -> str | None:
    """The same, by variables and names alone; the disk is not looked at, and the path may be another system's."""
    for variable in _VARIABLES:
        root = environment.get(variable)
        if root and path.is_relative_to(type(path)(root)):
            return "OneDrive"
    names = path.parts
    for index, name in enumerate(names):
        if index >= 2 and names[index - 1] == _MAC_STORAGE:
            return _known(name) or name.partition("-")[0]
        if index == 1 and path.drive and _GOOGLE_ROOT.fullmatch(name):  # G:\My Drive
            return "Google Drive"
        if index >= 2 and names[index - 2].casefold() in _HOMES and name.casefold() in _NAMES_AT_HOME:
            return _NAMES_AT_HOME[name.casefold()]
        if service := _known(name):
            return service
    return None


def _known(name: str) -> str | None:
    return next((service for pattern, service in _NAMES if pattern.fullmatch(name)), None)


def _by_marker(path: Path) -> str | None:
    for folder in (path, *path.parents):
        for marker, service in _MARKERS.items():
            if _is_there(folder / marker):
                return service
    return None


def _in_mac_documents(path: Path, home: Path | None) -> str | None:
    """iCloud Drive takes in Documents and Desktop where they are; it then has entries of their names."""
    try:
        own = Path.home() if home is None else home
    except RuntimeError:  # a process without a person
        return None
    for name in ("Documents", "Desktop"):
        if path.is_relative_to(own / name) and _is_there(own.joinpath(*_MAC_DRIVE, name)):
            return "iCloud Drive"
    return None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder on the way may not be looked into
        return False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle, or a drive that is gone
        return path
