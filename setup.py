"""What pyproject.toml cannot say: the folder envs/ is installed as metarl.envs."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["metarl", "metarl.*"], exclude=["metarl.envs*"]),
        *(f"metarl.{name}" for name in find_packages(include=["envs", "envs.*"])),
    ],
    package_dir={"metarl.envs": "envs"},
)
