"""Robots from strangers: what an MJCF file refers to stays in its folder."""

import pytest

from metarl.envs import InputError, mjcf
from metarl.envs.mjcf import compile_spec, load_spec

BODY = '<worldbody><body><joint type="slide"/><geom size="1"/></body></worldbody>'


def load_mjcf(path):
    return compile_spec(load_spec(path))


@pytest.fixture
def robot(tmp_path):
    """A robot's file with some more in it, in a folder of its own."""
    home = tmp_path / "robot"
    (home / "parts").mkdir(parents=True)
    (home / "parts" / "more.xml").write_text("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    for name in ("includes", "includes.txt"):
        (home / "parts" / name).write_text("<mujoco><include file='../../secret.xml'/></mujoco>")
    (home / "parts" / "out").symlink_to(tmp_path)
    (tmp_path / "secret.xml").write_text("<mujoco><worldbody><geom size='2'/></worldbody></mujoco>")

    def write(more: str = ""):
        (home / "robot.xml").write_text(f"<mujoco>{more}{BODY}</mujoco>")
        return home / "robot.xml"

    return write


def test_a_robot_may_be_in_several_files_of_its_folder(robot):
    assert load_mjcf(robot('<include file="parts/more.xml"/>')).ngeom == 2


@pytest.mark.parametrize(
    "more",
    [
        '<include file="../secret.xml"/>',
        "<include file = '../secret.xml'/>",
        '<compiler meshdir="../"/>',
        '<compiler assetdir="/etc"/>',
        '<asset><mesh file="/etc/passwd"/></asset>',
        '<asset><texture type="skybox" fileup="../secret.png"/></asset>',
        '<asset><hfield name="h" file="parts/../../secret.png" size="1 1 1 1"/></asset>',
        '<include file="&#46;&#x2e;/secret.xml"/>',
        '<include file="..\\secret.xml"/>',
        '<compiler meshdir="..\\"/>',
        '<compiler meshdir="&#46;&#46;/"/>',
        "<include\nfile\n=\n'../secret.xml'/>",
        '<include file="parts/includes.txt"/>',
        '<include file="parts/includes"/>',
        '<asset><model name="other" file="../secret.xml"/></asset>',
        '<asset><model name="other" file="parts/includes"/></asset>',
        '<compiler meshdir="parts/out"/>',
        '<compiler meshdir="parts"/><asset><mesh file="out/secret.xml"/></asset>',
        '<asset><texture type="2d" name="t" file="parts/out/secret.xml"/></asset>',
        '<asset><skin name="s" file="../secret.xml"/></asset>',
        '<worldbody><flexcomp type="mesh" name="f" file="../secret.xml"/></worldbody>',
        '<default><default class="a"><mesh file="../secret.xml"/></default></default>',
    ],
)
def test_a_robot_that_refers_to_what_is_outside_its_folder_is_refused(robot, more):
    with pytest.raises(InputError, match="outside its folder; put a copy into that") as error:
        load_mjcf(robot(more))
    assert "\n" not in str(error.value)


def test_a_link_out_of_the_folder_is_refused_too(robot, tmp_path):
    path = robot('<include file="parts/link.xml"/>')
    (path.parent / "parts" / "link.xml").symlink_to(tmp_path / "secret.xml")
    with pytest.raises(InputError, match="outside its folder"):
        load_mjcf(path)


def test_an_include_of_an_include_is_looked_at(robot):
    path = robot('<include file="parts/more.xml"/>')
    (path.parent / "parts" / "more.xml").write_text('<mujoco><include file="../../secret.xml"/></mujoco>')
    with pytest.raises(InputError, match="outside its folder"):
        load_mjcf(path)


def test_an_include_may_be_named_as_seen_from_the_file_that_includes_it(robot):
    path = robot('<include file="parts/again.xml"/>')
    (path.parent / "parts" / "again.xml").write_text('<mujoco><include file="more.xml"/></mujoco>')
    assert load_mjcf(path).ngeom == 2


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE mujoco [<!ENTITY up "..">]><mujoco/>',
        "<mujoco/><mujoco/>",
        "<mujoco a='1' a='2'/>",
        "<mujoco>\0</mujoco>",
        "<mujoco>",
        "",
        "\udcff",
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(robot, text):
    path = robot()
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="is not plain XML: ") as error:
        load_mjcf(path)
    assert "\n" not in str(error.value)


def test_files_that_include_each_other_or_are_huge_or_absent_are_one_line(robot, monkeypatch, tmp_path):
    path = robot('<include file="robot.xml"/>')
    for bad, words in ((path, "cannot load the robot"), (tmp_path / "none.xml", "cannot load the robot")):
        with pytest.raises(InputError, match=words) as error:
            load_mjcf(bad)
        assert "\n" not in str(error.value)
    monkeypatch.setattr(mjcf, "LARGEST", 10)
    with pytest.raises(InputError, match="larger than"):
        load_mjcf(robot())
