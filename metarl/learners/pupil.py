"""Pupil: an agent that may learn from a teacher first, who is told the task."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from metarl import ranks
from metarl.envs import World
from metarl.envs.told import known_of
from metarl.learners.agent import TEACHER, Agent
from metarl.learners.teacher.imitator import Imitator
from metarl.sampling.lessons import collect_lessons

LESSON = 6400  # environment steps of a teacher's iteration, about
LEAST_LESSONS = 20  # of a teacher that is worth imitating; a smaller share of the budget is the learner's own


class Pupil(Agent):
    """The half of a learner that has to do with its teacher; see `Agent` for the arguments.

    A share of the budget (`teacher` in the config) trains the learner's teacher, then the learner takes
    over from it and goes on by itself.

    Attributes:
        lesson_steps: environment steps that the teacher has taken.
    """

    lesson_steps = 0
    _lesson: World | None = None

    # What a subclass defines.

    learner_class: ClassVar[Callable[..., Imitator]]

    def learn_once(self) -> dict[str, float]:
        """One iteration of the learner itself, after its teacher's, and numbers to log."""
        raise NotImplementedError

    @property
    def own_steps(self) -> int:
        """Environment steps of one such iteration, at most."""
        raise NotImplementedError

    # What follows from it.

    def build_learner(self) -> Imitator:
        """The learner for this robot."""
        family = self.family
        return self.learner_class(
            family.obs_dim,
            family.action_dim,
            self.config,
            self.seed,
            self.device,
            self.n_told,
            family.has_expert,
        )

    @property
    def n_told(self) -> int:
        """Numbers in which a task is told, to whoever may know it in training."""
        return known_of(self.family)

    @property
    def steps_per_iteration(self) -> int:
        """Those of the teacher as long as it is its turn."""
        return self.n_lessons * self.family.horizon if self.teaching else self.own_steps

    @property
    def n_lessons(self) -> int:
        """Simulations that the teacher is trained in, in all processes, each of which has one at least."""
        return max(ranks.count(), round(LESSON / self.family.horizon))

    @property
    def teaching(self) -> bool:
        """Whether the next iteration is one of the teacher's, which leaves room for the learner's own."""
        if self.learner.teacher is None or self.lesson_steps < self.num_timesteps:
            return False
        share, one = self.config.teacher * self.total_timesteps, self.n_lessons * self.family.horizon
        worth = share >= LEAST_LESSONS * one and share + self.own_steps <= self.total_timesteps
        return worth and self.lesson_steps + one <= share

    @property
    def lesson(self) -> World:
        """This process's share of them, made when first needed."""
        n = len(ranks.share(self.n_lessons))
        if self._lesson is None or self._lesson.n_sims != n:
            self._lesson = self.simulated(n)
        return self._lesson

    @property
    def progress(self) -> float:
        """Fraction that is used of what the teacher has left of the budget."""
        left = self.total_timesteps - self.lesson_steps
        return (self.num_timesteps - self.lesson_steps) / left if left else 0.0

    def iterate(self) -> dict[str, float]:
        """Train the teacher as long as it is its turn, then the learner itself."""
        if self.teaching:
            return self._teach()
        if self.lesson_steps and not self.learner.taught:
            self.learner.take_over()
        return self.learn_once()

    def _teach(self) -> dict[str, float]:
        """Sample tasks, and let the teacher learn them, being told."""
        sim, teacher = self.lesson, self.learner.teacher
        tasks, rng = self.draw(self.n_lessons)
        with ranks.together():
            sim.set_tasks(tasks)
            lessons = collect_lessons(sim, teacher.act, rng)
        self.sim.take_failures(sim)
        stats = teacher.update(lessons, self.lesson_steps / (self.config.teacher * self.total_timesteps))
        n_steps = ranks.total(lessons.reward.size)
        self.lesson_steps += n_steps
        self.num_timesteps += n_steps
        mean_return = ranks.mean(lessons.mean_return(), lessons.n_episodes)
        return {TEACHER: mean_return, **{f"teacher/{k}": v for k, v in stats.items()}}

    def headline(self, stats: Mapping[str, float]) -> str:
        """Return of the teacher's episodes, or of the learner's."""
        if TEACHER in stats:
            return f"teacher, told the task: return {stats[TEACHER]:.1f}"
        returns = [value for name, value in stats.items() if name.startswith("return/")]
        return f"return {returns[0]:.1f} -> {returns[-1]:.1f}"

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed training needs."""
        return {**super().state_dict(), "lesson_steps": self.lesson_steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        super().load_state_dict(state)
        self.lesson_steps = int(state.get("lesson_steps", 0))  # not in files of before there was a teacher
