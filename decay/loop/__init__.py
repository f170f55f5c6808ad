"""The retraining loop: a generative model fitted on its own output, generation after generation.

``protocol`` says what a generator must do, ``engines`` holds one file per generator, ``recursion`` closes the loop.
"""

from decay.loop.engine import Dataset, Engine, Weights, derive_seed
from decay.loop.recursion import Generation, retrain

__all__ = ["Dataset", "Engine", "Generation", "Weights", "derive_seed", "retrain"]
