"""What users read, in their language where the application has it: Slicer's ``tr``, else the text itself.

The core also runs on MRML without an application, where there is nothing to translate with.
"""

from __future__ import annotations

try:
    # Itself, not wrapped: it finds the translation by the file that calls it.
    from slicer.i18n import tr as _
except ImportError:

    def _(text: str) -> str:
        """The text itself."""
        return text


__all__ = ["_", "plural"]


def plural(singular: str, pluralForm: str, n: int) -> str:
    """The form that fits ``n`` things.

    Both come translated, ``plural(_("{n} organ"), _("{n} organs"), n)``: only a text inside ``_()`` is found by the
    tool that collects what translators get.
    """
    return singular if n == 1 else pluralForm
