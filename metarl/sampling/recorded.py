"""Episodes that somebody has recorded, on a robot or anywhere."""

import zipfile
from pathlib import Path

import numpy as np

from metarl.envs import InputError, TaskFamily
from metarl.sampling.trajectories import Trajectories

NEEDED = "obs", "action", "reward", "episode_start"
KNOWN = (*NEEDED, "terminated")
MOST = 10_000_000  # numbers in an array


def read_recording(path: str | Path, family: TaskFamily) -> Trajectories:
    """Episodes in a file of NumPy's, one step a row, episode after episode.

    Args:
        path: of a .npz file with the arrays obs (L, obs_dim), before each step; action (L, action_dim), as
            the policy drew it, before any clipping; reward (L,) of the step; episode_start (L,), which steps
            are the first of an episode. And, where episodes end by failure, terminated (L,).
        family: whose robot it is.

    Returns:
        Trajectories, one row an episode.

    Raises:
        InputError: there is no such file, or an array is missing, of another shape, or not finite.
    """
    arrays = _arrays(Path(path))
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        words = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise InputError(f"{path}: arrays are of as many steps each, and not of {words}")
    length = lengths["reward"] if arrays["reward"].ndim == 1 else -1
    widths = {"obs": (family.obs_dim,), "action": (family.action_dim,)}
    for name, array in arrays.items():
        columns = widths.get(name, ())
        if array.shape != (length, *columns) or not length:
            words = ", ".join(["L", *map(str, columns)]) if columns else "L,"
            raise InputError(
                f"{path}: {name} has shape {array.shape}; {family.name} needs ({words}), one L > 0 in all"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds what is not a finite number")
    start = arrays["episode_start"].astype(bool)
    if not start[0]:
        raise InputError(f"{path}: episode_start[0] is false, but the first step begins an episode")
    return _laid_out(arrays, start, family)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The known arrays in a file, in 32 bits."""
    if not path.is_file():
        raise InputError(f"no file {path}")
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in [name for name in KNOWN if name in file.files]:
                array = file[name]
                if array.size > MOST:
                    raise InputError(f"{path}: {name} has {array.size:,} numbers, of {MOST:,} at most")
                if array.dtype.kind not in "biuf":
                    raise InputError(f"{path}: {name} holds no real numbers, but {array.dtype}")
                with np.errstate(over="ignore"):  # what does not fit is not finite, and refused as that
                    arrays[name] = array.astype(np.float32)
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]  # NumPy goes on with unsafe advice
        raise InputError(f"{path} is no .npz file of numbers ({reason}); write it with numpy.savez") from None
    if missing := [name for name in NEEDED if name not in arrays]:
        raise InputError(f"{path} lacks {', '.join(missing)}; it needs the arrays {', '.join(NEEDED)}")
    return arrays


def _laid_out(arrays: dict[str, np.ndarray], start: np.ndarray, family: TaskFamily) -> Trajectories:
    """Steps one after the other as episodes side by side."""
    begins = np.flatnonzero(start)
    lengths = np.diff([*begins, len(start)])
    out = Trajectories.empty(lengths.max(), len(begins), family.obs_dim, family.action_dim)
    episode = np.cumsum(start) - 1
    step = np.arange(len(start)) - begins[episode]
    for name in ("obs", "action", "reward"):
        getattr(out, name)[step, episode] = arrays[name]
    out.valid[step, episode] = True
    out.episode_start[0] = out.trial_start[0] = True
    last = lengths - 1, np.arange(len(begins))
    if "terminated" in arrays:
        out.terminated[last] = arrays["terminated"][begins + lengths - 1] > 0
    out.truncated[last] = ~out.terminated[last]
    return out
