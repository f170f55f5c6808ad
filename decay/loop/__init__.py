"""The retraining loop: a generative model fitted on its own output, generation after generation.

``protocol`` says what an experiment is and ``reading`` reads it from a file; ``run`` does it, step by step: ``fitting``
(which pictures: ``regimes``, ``real``), ``sampling``, ``controlled`` (``controls``, ``scores``). ``engine`` says what a
generator must do, ``engines`` holds one file per generator. ``folder`` knows where things lie, ``record`` writes down
what was done, ``checkpoint`` publishes folders whole or not at all.
"""
