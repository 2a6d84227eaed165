"""The dynamics of the RandParams families: every mass, inertia, friction and damping of a robot."""

from metarl.envs.distributions import LogUniform
from metarl.envs.param import Param


def rand_params() -> tuple[Param, ...]:
    """Each element of four fields is scaled by a number of its own (rand_param_envs; PEARL, 2019).

    body_mass, body_inertia, geom_friction *1.5^U(-3, 3); dof_damping *1.3^U(-3, 3). Inertia is drawn
    apart from mass, as published. Out of distribution: *1.5^U(-4, 4) and *1.3^U(-4, 4).
    """
    bases = {"body_mass": 1.5, "body_inertia": 1.5, "geom_friction": 1.5, "dof_damping": 1.3}
    return tuple(
        Param(
            field,
            "",
            LogUniform(base**-3, base**3),
            ood=LogUniform(base**-4, base**4),
            field=field,
            mode="scale",
            each=True,
        )
        for field, base in bases.items()
    )
