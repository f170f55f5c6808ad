"""How far a set of vectors lies from another: the distances that the field compares generators by, with their errors.

``frechet``: FID, FD. ``gaussian``: SIFID. ``kernel``: KID. ``neighbours``: precision, recall, density, coverage. Pure
arithmetic on float vectors (n, d); which network made the vectors, the families say.
"""
