"""What a network is apart from its weights. Light: programs read this before they load torch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

STAGES = ("stage1", "stage2", "stage3")
KINDS = ("teacher", "student")
READ_OUTS = ("official", "local", "median")
GRAD_METHODS = ("detach", "undetach")
SPACINGS = ("linear", "inverse", "auto")
VIEW_WEIGHTS = ("equal", "learned")

# With "auto" a range is sampled evenly in inverse depth where its far end is more than so many times the near one.
AUTO_RATIO = 3.0

# Fields that decide what a network computes and that its weights do not tell; a checkpoint stores them.
_STORED = ("ndepths", "depth_interval_ratios", "spacing", "share_cr", "read_out", "cr_base_chs", "view_weights")


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """Settings of the cascade; the defaults are the official training's.

    kind: "teacher" (expected depth, log-variance) or "student" (most probable depth).
    ndepths, depth_interval_ratios, cr_base_chs: per stage the number of depth hypotheses, their spacing in intervals of
        the depth range, and the base channels of the 3D U-Net.
    spacing: hypotheses evenly in depth ("linear", official), in inverse depth, or "auto": each sample by its own range.
    share_cr: one 3D U-Net for all stages, but for its first layer.
    grad_method: whether a stage's depth hands its gradient on to the stage before ("undetach").
    read_out: how the student's depth follows from its probabilities: "official", the most probable hypothesis; "local",
        the expected depth over it and its neighbours; "median", where half of the probability is nearer.
    extra_input_conv: whether the 3D U-Nets have the student's first layer; None: the student's alone. A teacher that
        starts from a student's weights has it too.
    view_weights: how much the source views count, "equal" (official), or "learned": per pixel, by how well they agree.
    checkpoint_stages: cost volumes and 3D U-Nets are computed again in the backward pass, which takes less memory and
        more time.

    Raises ValueError for what no network can be.
    """

    kind: str = "student"
    ndepths: tuple[int, ...] = (48, 32, 8)
    depth_interval_ratios: tuple[float, ...] = (4.0, 1.0, 0.5)
    spacing: str = "linear"
    share_cr: bool = False
    grad_method: str = "detach"
    cr_base_chs: tuple[int, ...] = (8, 8, 8)
    read_out: str = "official"
    extra_input_conv: bool | None = None
    view_weights: str = "equal"
    checkpoint_stages: bool = False

    def __post_init__(self) -> None:
        for name in ("ndepths", "depth_interval_ratios", "cr_base_chs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        choices = {"kind": KINDS, "spacing": SPACINGS, "grad_method": GRAD_METHODS, "read_out": READ_OUTS}
        choices["view_weights"] = VIEW_WEIGHTS
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(allowed)}")
        if {len(self.ndepths), len(self.depth_interval_ratios), len(self.cr_base_chs)} != {len(STAGES)}:
            raise ValueError("ndepths, depth_interval_ratios and cr_base_chs need three numbers each, one per stage")
        if any(count < 8 or count % 8 for count in self.ndepths):
            raise ValueError(f"ndepths {self.ndepths} must be multiples of 8 (three halvings in the 3D U-Net)")
        if not all(0 < ratio < 1e6 for ratio in self.depth_interval_ratios):
            raise ValueError(f"depth_interval_ratios {self.depth_interval_ratios} must be above 0")
        if min(self.cr_base_chs) < 1:
            raise ValueError(f"cr_base_chs {self.cr_base_chs} must be 1 or more")
        if self.share_cr and len(set(self.cr_base_chs)) > 1:
            raise ValueError("share_cr needs the same cr_base_chs at every stage")

    @property
    def has_input_conv(self) -> bool:
        """Whether the 3D U-Nets begin with the student's additional layer."""
        return self.kind == "student" if self.extra_input_conv is None else self.extra_input_conv

    def stored(self) -> dict[str, Any]:
        """What a checkpoint tells of its network."""
        values = {name: getattr(self, name) for name in _STORED}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def stored_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint's content tells of its network, some of the fields of `NetworkSettings.stored`.

    Official checkpoints tell nothing. Raises ValueError for a damaged record.
    """
    record = content.get("network", {})
    if not isinstance(record, Mapping):
        raise ValueError("its record of the network is damaged")
    if "read_out" in content:  # as written before the record was
        record = {"read_out": content["read_out"], **record}
    known = {name: record[name] for name in _STORED if name in record}
    defaults = NetworkSettings()
    for name, value in known.items():
        default = getattr(defaults, name)
        if isinstance(default, tuple):
            kinds = int if isinstance(default[0], int) else (int, float)
            sound = isinstance(value, list | tuple) and all(
                isinstance(item, kinds) and not isinstance(item, bool) for item in value
            )
        else:
            sound = isinstance(value, type(default))
        if not sound:
            raise ValueError(f"its record of the network is damaged ({name})")
    return known
