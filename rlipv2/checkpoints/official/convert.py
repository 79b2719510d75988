"""Official tensors to ours and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rlipv2.checkpoints.official.keys import IGNORED, Place, owner_of, place


@dataclass
class ConversionReport:
    """What became of every official key, and what the tensors alone could not tell."""

    renamed: dict[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)  # in the file, but without effect in its network
    expected_missing: list[str] = field(default_factory=list)  # parts of ours that official files never hold
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)  # options that leave no trace in tensors

    @property
    def surprises(self) -> list[str]:
        """What a conversion must not contain."""
        return [
            *(f"missing: {key}" for key in self.missing),
            *(f"unexpected: {key}" for key in self.unexpected),
            *(f"mismatched: {key}" for key in self.mismatched),
        ]

    def __str__(self) -> str:
        counts = {
            "loaded": len(self.renamed),
            "of these renamed": sum(old != new for old, new in self.renamed.items()),
            "aliases of loaded tensors": len(self.aliases),
            "ignored (recomputed)": len(self.ignored),
            "unused by this network": len(self.unused),
            "expected missing": len(self.expected_missing),
            "missing": len(self.missing),
            "unexpected": len(self.unexpected),
            "mismatched": len(self.mismatched),
        }
        lines = [f"{name:28}{count:6}" for name, count in counts.items()]
        lines += [f"  unused: {name}" for name in _grouped(self.unused)]
        lines += [f"  assumed: {choice}" for choice in self.assumed]
        return "\n".join([*lines, *(f"  {surprise}" for surprise in self.surprises[:40])])


def _grouped(keys: list[str]) -> list[str]:
    """Keys by their first two parts, with numbers of tensors where there are several."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(".".join(key.split(".")[:2]), []).append(key)
    return [members[0] if len(members) == 1 else f"{group} ({len(members)})" for group, members in groups.items()]


def convert_state(
    official: Mapping[str, Tensor], *, num_decoder_layers: int = 3, unused: tuple[str, ...] = ()
) -> tuple[dict[str, Tensor], ConversionReport]:
    """Official tensors under our names, and what was done with each key.

    Box heads that the official modules share are taken from the top-level entries; where a file's
    aliases differ from them, that is reported as a mismatch. Keys that start with one of `unused` are left out.
    """
    report = ConversionReport()
    state: dict[str, Tensor] = {}
    blocks: dict[Place, dict[int, Tensor]] = {}
    for key, tensor in official.items():
        if IGNORED.fullmatch(key):
            report.ignored.append(key)
        elif unused and key.startswith(unused):
            report.unused.append(key)
        elif (owner := owner_of(key, num_decoder_layers)) is not None:
            same = owner in official and torch.equal(official[owner], tensor)
            (report.aliases if same else report.mismatched).append(key if same else f"{key} differs from {owner}")
        elif (found := place(key, num_decoder_layers)) is None:
            report.unexpected.append(key)
        elif found.block is not None:
            whole = Place(found.names, found.dim, stacked=found.stacked)
            blocks.setdefault(whole, {})[found.block] = tensor
            report.renamed[key] = f"{found.names[0]} (block {found.block})"
        elif tensor.ndim <= found.dim or tensor.shape[found.dim] % len(found.names):
            report.mismatched.append(f"{key}: {tuple(tensor.shape)} does not split into {', '.join(found.names)}")
        else:
            state.update(zip(found.names, tensor.chunk(len(found.names), found.dim), strict=True))
            report.renamed[key] = ", ".join(found.names)
    for whole, parts in blocks.items():
        ordered = [parts[number] for number in sorted(parts)]
        shapes = {tuple(part.shape) for part in ordered}
        if len(shapes) > 1 or (not whole.stacked and ordered[0].ndim <= whole.dim):
            report.mismatched.append(f"{whole.names[0]}: its blocks have the shapes {sorted(shapes)}")
            continue
        state[whole.names[0]] = torch.stack(ordered) if whole.stacked else torch.cat(ordered, dim=whole.dim)
    return state, report


def official_view(ours: Mapping[str, Tensor], key: str, *, num_decoder_layers: int = 3) -> Tensor | None:
    """The part of our tensors (weights or gradients) that an official key stands for; None if there is none."""
    found = place(key, num_decoder_layers)
    if found is None or any(name not in ours for name in found.names):
        return None
    if found.block is None:
        parts = [ours[name] for name in found.names]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=found.dim)
    tensor = ours[found.names[0]]
    return tensor[found.block] if found.stacked else tensor.chunk(len(ours[found.counted_by]), found.dim)[found.block]
