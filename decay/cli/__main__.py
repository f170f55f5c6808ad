"""``python -m decay.cli``: the same as ``decay``."""

from decay.cli import app

if __name__ == "__main__":
    app()
