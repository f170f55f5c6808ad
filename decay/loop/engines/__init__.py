"""One file per generator, each an ``Engine``. Heavy packages are imported in these files and nowhere else."""
