"""What newcomers give by mistake in Python: refused in words, before anything is done, or understood."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import gymnasium
import numpy as np
import pytest
import torch
from helpers import TINY
from torch.utils._pytree import tree_leaves

from metarl import MAML, MAMLConfig, MetaLSTM, MetaLSTMConfig, MetaModel, MetaModelConfig, evaluate
from metarl.envs import (
    AnnulusRadius,
    BatchSim,
    Choice,
    Either,
    FamilyEnv,
    FamilyVectorEnv,
    InputError,
    LogUniform,
    OneWeak,
    Task,
    Uniform,
    load_family,
)
from metarl.envs.families.point import PointGoal
from metarl.learners.agent import Agent
from metarl.policies.cores import CORES
from metarl.sb3 import FamilyVecEnv

GOAL = {"goal_x": 0.5, "goal_y": 0.5}
RECURRENT = MetaLSTMConfig(n_trials=4, n_episodes=2, minibatches=2, width=8, hidden=4)


MODEL = MetaModelConfig(
    n_trials=2, window=4, hidden=(4, 4), members=2, batch=4, updates=1, policy_batch=4, replay=0.02, warm_up=1
)
AGENTS = {"maml": (MAML, TINY), "meta-lstm": (MetaLSTM, RECURRENT), "meta-model": (MetaModel, MODEL)}


@pytest.fixture(scope="module", params=AGENTS)
def agent(request) -> Agent:
    """One that has learned nothing; the point's observation has two numbers."""
    kind, config = AGENTS[request.param]
    return kind("PointGoal", config)


WRONG = {
    "a scalar": (0.5, r"here are \(2,\) or \(N, 2\), not \(\)"),
    "nothing": (None, r"here are \(2,\) or \(N, 2\), not \(\)"),
    "too long": (np.zeros(3), r"not \(3,\)"),
    "several that are too long": (np.zeros((4, 3)), r"not \(4, 3\)"),
    "an axis too many": (np.zeros((1, 1, 2)), r"not \(1, 1, 2\)"),
    "words": ("here", "is 2 numbers, not str"),
    "no number": (np.array([0.0, np.nan]), "not a finite number"),
    "endless": ([0.0, np.inf], "not a finite number"),
    "complex numbers": (np.array([0.0, 1j]), "is 2 numbers, not ndarray"),
    "none at all": (np.zeros((0, 2)), "no observation to act at"),
    "numbers with a gradient": (torch.zeros(2, requires_grad=True), "is 2 numbers, not Tensor"),
    "rows of all lengths": ([[0.0, 1.0], [0.0]], "is 2 numbers, not list"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_observation_that_is_none_is_refused(agent, what):
    obs, words = WRONG[what]
    with pytest.raises(InputError, match=words):
        agent.predict(obs)
    with pytest.raises(InputError, match=words):
        agent.adapt({"goal_x": 0.5, "goal_y": 0.5}).predict(obs)


@pytest.mark.parametrize("obs", [[0.0, 1.0], (0, 1), np.zeros(2, int), [[0.0, 1.0]] * 3])
def test_an_observation_may_come_as_plain_numbers(agent, obs):
    assert agent.predict(obs)[0].shape == np.shape(obs)


@pytest.mark.parametrize("reward", [None, np.nan, np.inf, "one", np.array([np.nan])])
def test_a_reward_that_is_none_is_refused(reward):
    agent = MetaLSTM("PointGoal", RECURRENT)
    _, state = agent.predict(np.zeros(2))
    with pytest.raises(InputError, match="the number that the last step gave"):
        agent.predict(np.zeros(2), state, reward=reward)


@pytest.mark.parametrize("budget", [np.nan, np.inf, -1, "5", None])
def test_a_budget_that_is_none_is_refused(agent, budget):
    with pytest.raises(InputError, match="are no budget"):
        agent.learn(budget)
    assert agent.iterations == 0


def test_negative_counts_are_refused(agent):
    with pytest.raises(InputError, match="use 0 or more"):
        agent.adapt({"goal_x": 0.5, "goal_y": 0.5}, n_episodes=-1)
    with pytest.raises(InputError, match="n_threads -1 is out of range; use 0 for one per CPU"):
        MAML("PointGoal", n_threads=-1)
    with pytest.raises(InputError, match="on -1 threads"):
        BatchSim(load_family("PointGoal"), 2, -1)
    with pytest.raises(InputError, match="0 simulations"):
        BatchSim(load_family("PointGoal"), 0)


def test_a_gradient_step_needs_an_episode():
    with pytest.raises(InputError, match="on 0 episodes each"):
        MAML("PointGoal", TINY).adapt({"goal_x": 0.5, "goal_y": 0.5}, n_episodes=0)


# Tasks.

NO_TASKS = {
    "beyond every range": ([Task({**GOAL, "goal_x": 9.0})], r"goal_x=9 is out of range: use U\(-1, 1\)"),
    "a name too many": ([{**GOAL, "gaol": 1.0}], "unknown task parameter of PointGoal 'gaol'"),
    "a name missing": ([Task({"goal_x": 1.0})], "PointGoal needs goal_y"),
    "one task, not a list": (GOAL, "a list of tasks is needed"),
    "a split's name": ("test", "a list of tasks is needed"),
    "words": (["goal_x=1"], "a task is names and numbers"),
}


@pytest.mark.parametrize("what", NO_TASKS)
def test_what_are_no_tasks_of_the_family_is_refused_and_the_old_ones_stay(what):
    tasks, words = NO_TASKS[what]
    sim = BatchSim("PointGoal", 1)
    sim.set_tasks([GOAL])
    with pytest.raises(InputError, match=words):
        sim.set_tasks(tasks)
    assert sim.tasks == [Task(GOAL)] and sim.task_values["goal_x"] == 0.5
    with pytest.raises(InputError, match=words):
        evaluate(MAML("PointGoal", TINY), "PointGoal", tasks, 1, 1)


def test_tasks_out_of_distribution_are_in_range():
    family = load_family("HalfCheetahVel")
    sim = BatchSim(family, family.n_ood)
    sim.set_tasks(family.tasks("ood"))
    assert sim.tasks == family.tasks("ood")


@pytest.mark.parametrize("given", [dict, Task])
def test_tasks_may_come_as_plain_numbers_and_families_by_name_or_class(agent, given):
    tasks = [given(GOAL), given({**GOAL, "goal_x": -0.5})]
    one = evaluate(agent.adapter(), agent.family, [Task(t) for t in tasks], 2, 3, agent.name)
    assert evaluate(agent, "PointGoal", tasks, 2, 3) == one
    assert evaluate(agent, PointGoal, tasks, np.int64(2), np.int32(3)) == one


@pytest.mark.parametrize(("tasks", "columns", "episodes"), [([], 1, 1), ([GOAL], 0, 1), ([GOAL], 1, 0)])
def test_an_evaluation_of_nothing_is_refused(tasks, columns, episodes):
    with pytest.raises(InputError, match="use at least 1 of each"):
        evaluate(MAML("PointGoal", TINY), "PointGoal", tasks, columns, episodes)


@pytest.mark.parametrize("family", [None, 3, Task])
def test_what_is_no_family_is_refused(family):
    for make in (BatchSim, FamilyVectorEnv, MAML):
        with pytest.raises(InputError, match="a family, or its name, is needed"):
            make(family, 1)


@pytest.mark.parametrize("config", [RECURRENT, asdict(TINY)])
def test_the_config_of_another_learner_is_refused(config):
    with pytest.raises(InputError, match="the config of MAML is a MAMLConfig"):
        MAML("PointGoal", config)


# Numbers of other types.


@pytest.mark.parametrize("seed", [np.int64(1), np.int32(1), np.float64(1), np.bool_(True), True, 1.0])
def test_a_seed_is_a_number_of_whatever_type(agent, seed, tmp_path):
    new = type(agent)("PointGoal", agent.config, seed=seed, n_threads=np.int64(1))
    new.save(tmp_path / "agent.pt")
    assert type(agent).load(tmp_path / "agent.pt").seed == 1
    tasks = agent.family.tasks("test")[:2]
    assert evaluate(agent, "PointGoal", tasks, 1, 3, seed=seed) == evaluate(
        agent, "PointGoal", tasks, 1, 3, seed=1
    )
    np.testing.assert_array_equal(
        agent.adapt(GOAL, seed=seed).predict([0, 0])[0], agent.adapt(GOAL, seed=1).predict([0, 0])[0]
    )
    for env in (FamilyEnv("HalfCheetahVel"), FamilyVectorEnv("HalfCheetahVel", np.int64(2))):
        np.testing.assert_array_equal(env.reset(seed=seed)[0], env.reset(seed=1)[0])


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, np.nan, "1", None])
def test_what_is_no_seed_is_refused(agent, seed):
    for make in (lambda: type(agent)("PointGoal", agent.config, seed), lambda: agent.adapt(GOAL, seed=seed)):
        with pytest.raises(InputError, match="seed"):
            make()


def test_where_an_agent_cannot_be_saved_one_line_says_why(agent, tmp_path):
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path, "is a folder"),
        (tmp_path / "models" / "agent.pt", "there is no folder"),
        (tmp_path / "file" / "agent.pt", "there is no folder"),
    ):
        with pytest.raises(InputError, match=why):
            agent.save(path)


def test_settings_are_plain_values_whatever_was_given(tmp_path):
    numbers = {"n_tasks": np.int64(2), "inner_lr": np.float32(0.5), "first_order": np.bool_(True)}
    config = MAMLConfig(hidden=[np.int64(4)], n_episodes=2, **numbers)
    assert config == MAMLConfig(hidden=(4,), n_episodes=2, n_tasks=2, inner_lr=0.5, first_order=True)
    MAML("PointGoal", config).learn(np.float64(240)).save(tmp_path / "agent.pt")
    assert MAML.load(tmp_path / "agent.pt").config == config


@dataclass(frozen=True)
class Nested:
    """Settings in lists of lists."""

    sizes: tuple[tuple[int, int], ...] = ((1, 2), (3, 4))


def test_lists_in_lists_of_settings_come_back_as_they_were():
    kind = type("Own", (Agent,), {"config_class": Nested, "name": "own"})
    assert kind.make_config(json.loads(json.dumps(asdict(Nested())))) == Nested()


def test_what_a_learner_of_ones_own_does_not_define_is_said(agent):
    for name, given in (("predict", np.zeros(2)), ("adapt", {"goal_x": 0.5})):
        with pytest.raises(InputError, match=f"defines no `{name}`"):
            getattr(Agent, name)(agent, given)


# Another robot, another time.


def test_another_robot_is_refused(agent):
    cheetah = load_family("HalfCheetahVel")
    with pytest.raises(InputError, match="the policy is of another robot: it sees 2 numbers and gives 2"):
        evaluate(agent, cheetah, cheetah.tasks("test")[:2], 1, 1)
    with pytest.raises(InputError, match=r"the environment is of another robot: it shows \(17,\)"):
        agent.adapt(FamilyEnv(cheetah))
    with pytest.raises(InputError, match="not a vector of them"):
        agent.adapt(FamilyVectorEnv("PointGoal", 2))


def test_what_draws_another_task_for_every_episode_is_none_to_adapt_to(agent):
    with pytest.raises(InputError, match="draws another task for every episode"):
        agent.adapt(FamilyEnv("PointGoal"))


def test_an_environment_that_takes_other_actions_is_refused_until_it_is_rescaled(agent):
    env, bound = FamilyEnv("PointGoal", task={"goal_x": 0.5, "goal_y": 0.5}), np.full(2, 5, np.float32)
    wide = gymnasium.wrappers.RescaleAction(env, -bound, bound)
    with pytest.raises(InputError, match=r"in \[-1, 1\], and the environment takes Box\(-5.0, 5.0.*Rescale"):
        agent.adapt(wide)
    agent.adapt(gymnasium.wrappers.RescaleAction(wide, -bound / 5, bound / 5), 1)


class Off(gymnasium.Env):
    """Shows or pays what is no number."""

    observation_space = action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def __init__(self, obs, reward):
        self.obs, self.reward = np.array(obs), reward

    def reset(self, *, seed=None, options=None):
        return np.zeros(2), {}

    def step(self, action):
        return self.obs, self.reward, False, False, {}


@pytest.mark.parametrize("learner", [MAML, MetaLSTM, MetaModel])
@pytest.mark.parametrize(
    ("env", "words"),
    [
        (Off([0.0, np.nan], 1.0), "the observation holds what is not a finite number"),
        (Off([0.0, 0.0], np.nan), "the environment pays nan, which is not a finite number"),
        (Off([0.0, 0.0], None), "the environment pays None"),
        (Off([[0.0], [0.0]], 1.0), r"not \(2, 1\)"),
    ],
)
def test_nobody_adapts_to_what_is_no_number(learner, env, words):
    with pytest.raises(InputError, match=words):
        learner("PointGoal").adapt(env, 1)


@pytest.mark.parametrize(
    ("make", "action"),
    [
        (lambda: FamilyEnv("PointGoal"), (2,)),
        (lambda: FamilyVectorEnv("PointGoal", 3), (3, 2)),
        (lambda: FamilyVecEnv("PointGoal", 3), (3, 2)),
        (lambda: BatchSim("PointGoal", 3), (3, 2)),
        (lambda: gymnasium.make("metarl/PointGoal-v0").unwrapped, (2,)),
    ],
)
def test_a_step_before_the_first_reset_is_refused(make: Callable, action):
    with pytest.raises(InputError, match="reset before the first step"):
        make().step(np.zeros(action))


def test_simulations_that_were_not_reset_may_wait():
    sim, first = BatchSim("PointGoal", 2), np.array([True, False])
    sim.set_tasks([GOAL] * 2)
    sim.reset(np.random.default_rng(0), first)
    sim.step(np.zeros((2, 2)), first)
    with pytest.raises(InputError, match="reset before the first step"):
        sim.step(np.zeros((2, 2)))


# What torch is told around it.


@contextmanager
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def lived(agent: Agent) -> list[np.ndarray]:
    """What comes of learning, judging, adapting and acting."""
    new = type(agent)("PointGoal", agent.config).learn(2 * agent.steps_per_iteration)
    result = evaluate(new, "PointGoal", new.family.tasks("test")[:2], 2, 3)
    tensors = [x.detach().numpy() for x in tree_leaves(new.state_dict()) if torch.is_tensor(x)]
    return [np.array(result.episode_returns), new.adapt(GOAL).predict([0, 0])[0], *tensors]


@pytest.mark.parametrize("around", [double, torch.no_grad, torch.inference_mode, threads])
def test_what_torch_is_told_around_it_changes_no_bit(agent, around):
    plain = lived(agent)
    with around():
        asked = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
        odd = lived(agent)
        assert asked == (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
    for one, other in zip(plain, odd, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Uniform(1, -1), r"the lower end comes first, Uniform\(-1, 1\)"),
        (lambda: LogUniform(2, 1), r"the lower end comes first, LogUniform\(1, 2\)"),
        (lambda: OneWeak(1, 0, ((0,),)), "the lower end comes first"),
        (lambda: Uniform("a", 1), "two numbers"),
        (lambda: Uniform(0, np.inf), "two numbers"),
        (lambda: Uniform(np.nan, 1), "two numbers"),
        (lambda: LogUniform(0, 1), "above 0"),
        (lambda: AnnulusRadius(-1, 1), "a radius is at least 0"),
        (lambda: Choice(()), "at least one value"),
        (lambda: Either(()), "at least one range"),
    ],
)
def test_a_distribution_that_is_none_is_refused_where_it_is_written(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize("acts_only", [False, True])
@pytest.mark.parametrize("core", CORES)
def test_what_was_hardly_trained_is_not_taken_for_damaged(core, acts_only, tmp_path):
    """Where nothing of the task can be told to anybody, a policy is small."""
    world = "gym:gymnasium:Pendulum-v1:horizon=20"
    agent = MetaLSTM(world, MetaLSTMConfig(core=core))
    agent.save(tmp_path / "agent.pt", acts_only=acts_only)
    assert MetaLSTM.load(tmp_path / "agent.pt").n_told == 0


@pytest.mark.parametrize("make", [MetaLSTM, MetaModel])
def test_a_state_that_is_none_of_these_trials_is_refused_in_a_line(make):
    agent = make("PointGoal")
    _, state = agent.predict(np.zeros(2))
    for says, given in (
        ("needs reward=", {"obs": np.zeros(2), "state": state}),
        ("the state is of 1 trials, and there are 3", {"obs": np.zeros((3, 2)), "state": state, "reward": 0}),
        ("a state is what the last predict gave, not dict", {"obs": np.zeros(2), "state": {}, "reward": 0}),
        ("rewards are .N,., here N = 1", {"obs": np.zeros(2), "state": state, "reward": [1, 2, 3]}),
        ("episode_start is .N,.", {"obs": np.zeros((2, 2)), "episode_start": [True, False, True]}),
        ("episode_start is true or false for each", {"obs": np.zeros(2), "episode_start": "x"}),
        ("episode_start is true or false for each", {"obs": np.zeros(2), "episode_start": [0.5]}),
    ):
        with pytest.raises(InputError, match=says):
            agent.predict(**given)


def test_a_state_of_another_agent_is_refused_in_a_line():
    small = {"width": 8, "hidden": 8}
    agents = {core: MetaLSTM("PointGoal", MetaLSTMConfig(core=core, **small)) for core in CORES}
    agents |= {
        "wider": MetaLSTM("PointGoal", MetaLSTMConfig(width=16, hidden=8)),
        "another robot": MetaLSTM("X2Hover", MetaLSTMConfig(**small)),
        "model": MetaModel("PointGoal", MetaModelConfig(hidden=(8,))),
        "window": MetaModel("PointGoal", MetaModelConfig(hidden=(8,), window=4)),
        "another robot's model": MetaModel("X2Hover", MetaModelConfig(hidden=(8,))),
    }
    states = {name: agent.predict(np.zeros(agent.family.obs_dim))[1] for name, agent in agents.items()}
    for name, agent in agents.items():
        obs = np.zeros(agent.family.obs_dim)
        for other, state in states.items():
            if other == name:
                agent.predict(obs, agent.predict(obs, state, reward=0)[1], reward=0)
                continue
            with pytest.raises(InputError, match="another agent's predict"):
                agent.predict(obs, state, reward=0)


@pytest.mark.parametrize("core", CORES)
def test_no_policy_has_fewer_parameters_than_its_settings_ask_for_at_least(core):
    recurrent = MetaLSTM("PointGoal", MetaLSTMConfig(core=core, width=64, hidden=32))
    gradient = MAML("PointGoal", MAMLConfig(hidden=(33, 21, 8), learn_inner_lr=False))
    model = MetaModel("PointGoal", MetaModelConfig(hidden=(48, 32, 20)))
    planner = MetaModel("PointGoal", MetaModelConfig(hidden=(48, 32, 20), act="planner"))
    for agent, params in (
        (recurrent, recurrent.learner.params),
        (gradient, gradient.learner.meta),
        (model, model.learner.params | model.learner.policy.params),
        (planner, planner.learner.params),
    ):
        n = sum(p.numel() for name, p in params.items() if not name.startswith("critic/"))
        assert n / 10 < agent.n_least(agent.config) <= n


@pytest.mark.parametrize("acts_only", [False, True])
def test_a_policy_wider_than_its_file_is_refused_before_there_is_one(acts_only, tmp_path):
    path = tmp_path / "agent.pt"
    MetaModel("PointGoal", MetaModelConfig(hidden=(8,), policy_width=8)).save(path, acts_only=acts_only)
    content = torch.load(path, weights_only=True)
    content["config"]["policy_width"] = 4096
    torch.save(content, path)
    with pytest.raises(InputError, match="does not fit its own settings"):
        MetaModel.load(path)
