"""Installs `notebooks/` as `vidseg_utils/notebooks`: lessons read sweeps, and in Colab there is no checkout."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["vidseg_utils*"]), "vidseg_utils.notebooks"],
    package_dir={"vidseg_utils.notebooks": "notebooks"},
)
