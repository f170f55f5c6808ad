"""The command line: parse, call, print. The only room that prints or sets an exit code.

Commands import what they need when they run, so that ``decay --help`` stays quick.
"""

from decay.cli.commands import app

__all__ = ["app"]
