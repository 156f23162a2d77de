"""``skcdf project``: make a project, look at it, delete what it has made."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SkcdfError
from .pool import add_label_arguments, chosen_labels, print_labels

if TYPE_CHECKING:
    from ..project import Project

SUMMARY = "Make a project (one folder with pool, models and trainings), look at it, delete it."
EXAMPLE = """examples:
  skcdf project create liver_ct/ --labels synapse13 --modality CT
  skcdf project create dogs/ --organs 'liver, spleen' --modality MR --name 'Dogs, abdomen'
  skcdf project show liver_ct/
  skcdf project delete liver_ct/ runs cache --yes
  skcdf project delete liver_ct/ project --yes
what lies where: docs/project.md"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = _action(actions, "create", "make a project in an empty folder", _create)
    add_label_arguments(create)
    create.add_argument("--name", default="", help="what people call it (default: the folder's name)")
    show = _action(actions, "show", "say what a project holds, and how large it is", _show)
    show.add_argument("--json", action="store_true", help="for programs: one JSON object")
    delete = _action(
        actions, "delete", "delete what a project has made; your own files in its folder stay", _delete
    )
    delete.add_argument(
        "parts", metavar="PART", nargs="+", help="runs, cache, logs, models, pool, or project: everything"
    )
    delete.add_argument("--yes", action="store_true", help="do it; without, it is only said what would go")


def run(options: argparse.Namespace) -> int:
    """Does one action; see `SUMMARY`."""
    code: int = options.work(options)
    return code


def _action(actions: Any, name: str, text: str, work: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument("project", type=Path, metavar="PROJECT", help="the project's folder")
    parser.set_defaults(work=work)
    return parser


def _create(options: argparse.Namespace) -> int:
    from ..project import Project

    label_set = chosen_labels(options, options.project.resolve().name)
    project = Project.create(
        options.project, label_set, options.modality, options.name, synthetic=options.synthetic
    )
    print(f"{options.project}: project {project.name}, its models are called {project.line()}")
    print_labels(label_set)
    _print_cloud(project)
    return 0


def _show(options: argparse.Namespace) -> int:
    import json

    from ..project import Project, cloud_service
    from ..records import to_plain

    project = Project.open(options.project)
    store, line, run = project.store(), project.line(), project.unfinished_run()
    counts, sizes = asdict(project.counts()), project.size()
    versions = len(store.versions(line)) if line in store.lines() else 0
    promoted = store.state(line).promoted if versions else None
    if options.json:
        content = {
            **{"name": project.name, "created": project.created, "line": line, "counts": counts},
            **{"versions": versions, "promoted": promoted, "bytes": sizes},
            "unfinished_run": None if run is None else to_plain(run) | {"folder": str(run.folder)},
            "cloud": cloud_service(project.root),
        }
        print(json.dumps(content, indent=2))
        return 0
    print(f"{project.name}, made {project.created}")
    print(f"pool: {', '.join(f'{count} {kind}' for kind, count in counts.items())}")
    print(f"models: {line}, {versions} versions, {promoted or 'none'} in use")
    if run is not None:
        state = "is running" if run.running else "was stopped"
        print(f"training: {run.folder.name} {state} at {run.iteration} of {run.total}")
    print(f"size: {', '.join(f'{part} {_size(size)}' for part, size in sizes.items())}")
    _print_cloud(project)
    return 0


def _delete(options: argparse.Namespace) -> int:
    from ..project import PARTS, Project

    project = Project.open(options.project)
    sizes = project.size()
    unknown = [part for part in options.parts if part not in sizes]
    if unknown:
        raise SkcdfError(
            f"There is no part {unknown[0]} of a project.", f"Parts are {', '.join((*PARTS, 'project'))}."
        )
    named = ", ".join(f"{part} ({_size(sizes[part])})" for part in dict.fromkeys(options.parts))
    if not options.yes:
        raise SkcdfError(f"{options.project}: nothing was deleted; {named} would be.", "Add --yes to do it.")
    left = project.delete(*options.parts)
    print(f"{options.project}: deleted {named}")
    for path in left:
        print(f"left, since it is not the project's: {path}")
    return 0


def _print_cloud(project: Project) -> None:
    from ..project import cloud_service

    service = cloud_service(project.root)
    if service:
        print(
            f"warning: the folder is synchronised with {service}: what is in it leaves this computer. For scans of "
            "patients choose another."
        )


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
