"""The Slicer side of SKCDFSegmenter: MRML nodes to the engine and back, without any widget.

Importing this package makes ``skcdf`` importable. Nothing here imports torch: only the child process does.
"""

import sys
from pathlib import Path

_MODULE_FOLDER = Path(__file__).resolve().parents[1]


def _engineFolder() -> Path:
    """The folder that holds ``skcdf``: beside the module where installed, ``engine/`` in the source tree."""
    for folder in (_MODULE_FOLDER, _MODULE_FOLDER.parent / "engine"):
        if (folder / "skcdf" / "__init__.py").is_file():
            return folder
    raise ImportError(f"{_MODULE_FOLDER}: the engine (skcdf) is missing. Install SKCDFSegmenter again.")


ENGINE_FOLDER = _engineFolder()
if str(ENGINE_FOLDER) not in sys.path:
    # First: another skcdf, installed by pip, may be of another version.
    sys.path.insert(0, str(ENGINE_FOLDER))
