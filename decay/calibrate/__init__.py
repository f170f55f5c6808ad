"""The instrument measured: drawn truth and labelled photographs in, ``docs/accuracy.md`` out."""

from decay.calibrate.study import calibrate

__all__ = ["calibrate"]
