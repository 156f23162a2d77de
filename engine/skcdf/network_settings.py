"""How this computer reaches the network, as far as it matters to pip, and what is wrong with it.

Standard library only. Nothing is contacted. Passwords are never told.
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_PIP = (
    "PIP_PROXY",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_FIND_LINKS",
    "PIP_TRUSTED_HOST",
)
_PIP_OPTIONS = ("proxy", "cert", "index-url", "extra-index-url", "no-index", "find-links", "trusted-host")
_SECRET = re.compile(r"(?<=//)[^/@\s]+@")


def network_settings(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Proxies, certificates and pip's own settings that are set, by name; passwords are left out.

    Args:
        environment: variables; ``None``: this process's.
    """
    return {name: _SECRET.sub("***@", value) for name, value in _settings(environment).items()}


def network_problems(environment: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """What would keep pip from the network: messages with hints."""
    return list(_problems(_settings(environment)))


def _settings(environment: Mapping[str, str] | None) -> dict[str, str]:
    variables = os.environ if environment is None else environment
    found = {}
    for name in (*_PROXIES, *_CERTIFICATES, *_PIP):
        value = variables.get(name) or variables.get(name.lower())
        if value:
            found[name] = value
    if environment is None:  # what Windows and macOS have in their own settings
        for scheme, proxy in urllib.request.getproxies().items():
            found.setdefault(f"{scheme.upper()}_PROXY", proxy)
    for file in _pip_files(variables):
        found |= _of_pip_file(file)
    return found


def _pip_files(variables: Mapping[str, str]) -> Iterator[Path]:
    """Where pip looks for its settings; later ones overrule."""
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    if variables.get("PIP_CONFIG_FILE"):
        yield Path(variables["PIP_CONFIG_FILE"])
        return
    home = variables.get("HOME") or variables.get("USERPROFILE")
    if sys.platform == "win32":
        yield Path(variables.get("PROGRAMDATA", r"C:\ProgramData")) / "pip" / name
        if variables.get("APPDATA"):
            yield Path(variables["APPDATA"]) / "pip" / name
    else:
        yield Path("/etc") / name
        if sys.platform == "darwin":
            yield Path("/Library/Application Support/pip") / name
    if home:
        yield Path(home) / "pip" / name if sys.platform == "win32" else Path(home) / ".pip" / name
        if sys.platform == "darwin":
            yield Path(home) / "Library" / "Application Support" / "pip" / name
        if sys.platform != "win32":
            yield Path(variables.get("XDG_CONFIG_HOME") or Path(home) / ".config") / "pip" / name
    yield Path(sys.prefix) / name


def _of_pip_file(file: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(file.read_text(encoding="utf-8", errors="replace"))
    except (OSError, configparser.Error):
        return {}
    found = {}
    for section in ("global", "install"):
        for option in _PIP_OPTIONS:
            if value := parser.get(section, option, fallback="").strip():
                found[f"pip {option}"] = " ".join(value.split())
    return found


def _problems(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        shown = _SECRET.sub("***@", value)
        if (name in _CERTIFICATES or name == "pip cert") and not os.path.exists(value):
            yield (
                f"{name} names certificates that are not there: {shown}.",
                "Correct the path, or take the setting away.",
            )
        if name == "NO_PROXY" or not (name.endswith("_PROXY") or name == "pip proxy"):
            continue
        if "://" not in value:
            yield f"{name} is no address of a proxy: {shown}.", f"Write http://{shown}."
        elif value.lower().startswith("socks") and importlib.util.find_spec("socks") is None:
            yield (
                f"{name} names a SOCKS proxy, which pip cannot use here: {shown}.",
                "Ask for the address of an HTTP proxy, or install from a folder with downloaded packages.",
            )
    for name in ("PIP_NO_INDEX", "pip no-index"):
        if settings.get(name, "").lower() in ("1", "true", "yes", "on"):
            yield (
                f"{name} forbids pip to use the network.",
                "Install from a folder of wheels, or take the setting away.",
            )
