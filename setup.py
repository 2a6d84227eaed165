"""What pyproject.toml cannot say: the folder envs/ is installed as metarl.envs."""

from setuptools import find_namespace_packages, setup

ours = find_namespace_packages(include=["metarl", "metarl.*"], exclude=["metarl.envs*", "metarl.box.*"])
world = find_namespace_packages(include=["envs", "envs.*"])
setup(packages=[*ours, *(f"metarl.{name}" for name in world)], package_dir={"metarl.envs": "envs"})
