"""Makes ``skcdf`` importable for the scripts beside this file: the engine that belongs to them goes first.

Another ``skcdf``, installed by pip, may be of another version. Where neither the source tree nor the installed
extension surrounds the scripts, that one is taken.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_FOLDERS = (
    Path(os.environ.get("SKCDF_ENGINE") or _HERE.parent / "engine"),  # the application names it to its child
    _HERE.parent / "engine",  # the source tree
    _HERE.parents[1],  # the installed extension: qt-scripted-modules
)

for _folder in _FOLDERS:
    if (_folder / "skcdf" / "__init__.py").is_file():
        if str(_folder) not in sys.path[:1]:
            sys.path.insert(0, str(_folder))
        break
