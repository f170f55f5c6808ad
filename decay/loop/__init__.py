"""The retraining loop: a generative model fitted on its own output, generation after generation.

``protocol`` says what a generator must do, ``engines`` holds one file per generator, ``recursion`` closes the loop.
"""

from decay.loop.protocol import Dataset, Engine, Weights
from decay.loop.recursion import Generation, derive_seed, retrain

__all__ = ["Dataset", "Engine", "Generation", "Weights", "derive_seed", "retrain"]
