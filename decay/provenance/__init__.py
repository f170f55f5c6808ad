"""A log from which anyone can say which picture came from which weights, fitted on which pictures.

Usable alone, around any script::

    from decay import provenance

    with provenance.log("runs/mine") as p:
        photograph = p.record_real("runs/mine/real/0.png")
        weights = p.record_fit("runs/mine/model.safetensors", [photograph], generation=0)
        p.record("runs/mine/gen_00/0.png", prompt="a face", seed=1, generation=0, weights=weights)

The format, and what it can and cannot show, is described in docs/provenance.md.
"""

from decay.provenance.environment import environment
from decay.provenance.events import Begin, Derived, Event, Fit, Image, Member, Note, Real, Resume
from decay.provenance.log import Log, log, member_of
from decay.provenance.trace import ancestry_text, trace
from decay.provenance.verify import runs_in, synthetic_hashes, verification_text, verify

__all__ = [
    "Begin",
    "Derived",
    "Event",
    "Fit",
    "Image",
    "Log",
    "Member",
    "Note",
    "Real",
    "Resume",
    "ancestry_text",
    "environment",
    "log",
    "member_of",
    "runs_in",
    "synthetic_hashes",
    "trace",
    "verification_text",
    "verify",
]
