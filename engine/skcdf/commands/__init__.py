"""The commands of ``python -m skcdf``, one module each.

A command module has ``SUMMARY``, ``EXAMPLE``, ``add_arguments(parser)`` and ``run(options) -> exit code``. Heavy
imports happen in ``run``, so that ``--help`` answers at once.
"""
