"""A model in words: what it finds in which scans, how it was trained, how well it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model_parts import Accuracy, Range, UsualOrgan

if TYPE_CHECKING:
    from .models import ModelBundle


def describe(bundle: ModelBundle) -> str:
    """The model in words, many lines."""
    expects, training, inference = bundle.expects, bundle.training, bundle.inference
    method = f"{training.method} + {training.plugin}" if training.plugin else training.method
    cases = f"{training.labelled_cases} labelled and {training.unlabelled_cases} unlabelled cases"
    low, high = expects.intensity_range
    window = " x ".join(str(side) for side in bundle.patch_size)
    organs = bundle.label_set.labels
    lines = [
        f"{bundle.name} {bundle.version}: {bundle.title}",
        f"! {bundle.notice}",
        *([bundle.description] if bundle.description else []),
        "",
        f"Organs ({len(organs)}): {', '.join(each.title for each in organs)}",
        f"Scans: {expects.modality}, {expects.body_part}, intensities {low:g} to {high:g}",
        f"  voxels of {_ranges(expects.spacing_mm)} mm (z, y, x)",
        f"  field of view {_ranges(expects.field_of_view_mm)} mm (z, y, x)",
        f"Network: {bundle.network.name}, window {window} voxels",
        f"  overlap {inference.overlap:g}, {inference.blend} blending",
        f"Training: {method} ({training.compat}), {training.iterations} iterations, seed {training.seed}",
        f"  {cases}: {training.data}",
        f"  {training.created}, skcdf {training.skcdf_version}",
        *_accuracy_lines(bundle.metrics),
        *_usual_lines(bundle.usual),
        f"Licence: {bundle.licence}",
        f"Use: {bundle.intended_use}",
        *(["Known failures:"] if bundle.known_failures else []),
        *(f"  - {failure}" for failure in bundle.known_failures),
    ]
    return "\n".join(lines)


def _accuracy_lines(metrics: tuple[Accuracy, ...]) -> list[str]:
    if not metrics:
        return ["Accuracy: not measured"]
    lines = ["Accuracy:"]
    width = max(len(each.organ) for each in metrics)
    for protocol in dict.fromkeys(each.protocol for each in metrics):
        lines.append(f"  {protocol}")
        for each in metrics:
            if each.protocol == protocol:
                spread = f" ± {each.sd:.3g}" if each.sd is not None else ""
                lines.append(
                    f"    {each.organ:<{width}}  {each.metric} {each.mean:.3g}{spread} (n = {each.n})"
                )
    return lines


def _usual_lines(usual: tuple[UsualOrgan, ...]) -> list[str]:
    if not usual:
        return ["Usual volumes: not known"]
    width = max(len(each.organ) for each in usual)
    return [
        "Usual volumes, in training:",
        *(
            f"  {each.organ:<{width}}  {each.volume_ml[0]:.4g} to {each.volume_ml[1]:.4g} mL (n = {each.n})"
            for each in usual
        ),
    ]


def _ranges(ranges: tuple[Range, ...]) -> str:
    return " x ".join(f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in ranges)
