"""What was asked for, as protocols and the folders that they run in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from decay.errors import DecayError
from decay.loop.protocol import Experiment, Protocol, read_parent
from decay.loop.reading import read_protocol
from decay.loop.record import read_protocol_of


@dataclass(frozen=True)
class Request:
    """``protocol``: a TOML file or a preset. ``arm``: one of its arms; ``all_arms``: every one, each in a folder of
    its name in ``out``. ``real``: real pictures in place of the protocol's; not with ``heal``. ``heal``: in place of
    one, ``RUN@5``, the generation of a run to go on from, on real pictures only, for ``iterations`` retrainings.
    """

    out: Path
    protocol: str | None = None
    arm: str | None = None
    all_arms: bool = False
    real: Path | None = None
    heal: str | None = None
    iterations: int = 5

    def protocols(self) -> Mapping[Path, Protocol]:
        """What is to be run, in order, by its folder. Raises DecayError if the request makes no sense."""
        if self.heal is not None:
            return {self.out: self._healed(self.heal)}
        if self.protocol is None:
            raise DecayError("Expected a protocol, a TOML file or a preset, or --heal RUN@5; got neither. Give one.")
        experiment = read_protocol(self.protocol)
        if self.real is not None:
            experiment = experiment.on_real(self.real)
        if self.all_arms:
            return self._sweep(experiment)
        return {self.out: self._one(experiment)}

    def _healed(self, heal: str) -> Protocol:
        if self.protocol is not None or self.arm is not None or self.all_arms:
            raise DecayError(
                "Expected either a protocol or --heal; got both. A run that is healed has its own protocol."
            )
        if self.real is not None:
            raise DecayError(
                "Expected either --real or --heal; got both. A run that is healed is trained on its own real pictures: "
                "leave --real out, or write a protocol with [parent] and a regime `fresh`."
            )
        try:
            parent = read_parent(heal)
        except ValueError as error:
            raise DecayError(f"--heal: {error}. Give it as RUN@5.") from error
        sick = read_protocol_of(parent.run)
        name = f"heal-{sick.name}"[:64].rstrip(".")
        return replace(sick.healed_from(parent), name=name, iterations=self.iterations)

    def _sweep(self, experiment: Experiment) -> Mapping[Path, Protocol]:
        if self.arm is not None or not experiment.arms:
            found = "--arm as well" if self.arm is not None else "a protocol that has none"
            raise DecayError(f"--sweep runs every arm of a protocol; got {found}. Leave --sweep out.")
        return {self.out / name: arm for name, arm in experiment.arms_in(self.out).items()}

    def _one(self, experiment: Experiment) -> Protocol:
        names = ", ".join(experiment.arms)
        if self.arm is None:
            if experiment.arms:
                raise DecayError(
                    f"{self.protocol}: expected a choice among its arms ({names}); got none. "
                    "Add --arm NAME, or --sweep for all of them."
                )
            return experiment.base
        if self.arm not in experiment.arms:
            raise DecayError(f"{self.protocol}: expected one of its arms ({names or 'it has none'}); got {self.arm!r}.")
        # An arm that goes on from another finds it beside its own folder, as in a sweep.
        return experiment.arms_in(self.out.parent)[self.arm]
