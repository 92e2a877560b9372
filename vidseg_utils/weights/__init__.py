"""Trained run folders that come with the package (README.md), and the command that makes them (make.py)."""
