"""Arithmetic on one image: pixels in, readings out. No files, no tables, no command line."""
