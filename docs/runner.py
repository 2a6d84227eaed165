"""Acts with a policy that `metarl export` has written. Needs numpy and onnxruntime, and nothing else."""

import json

import numpy as np
import onnxruntime


class Runner:
    """A policy at work: `begin` a trial, then `act` once every `dt` seconds."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # products are small: more threads only cost time
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        properties = self.session.get_modelmeta().custom_metadata_map
        self.about = {key: json.loads(value) for key, value in properties.items()}
        self.inputs = {i.name: (i.shape, int(np.prod(i.shape))) for i in self.session.get_inputs()}
        self.dt = self.about["control_dt"]
        self.scale, self.offset = (np.array(self.about[f"action_{k}"]) for k in ("scale", "offset"))
        ends = np.array(self.about["control_range"], float)  # None is not a number: an end that there is not
        self.low, self.high = np.where(np.isnan(ends), [-np.inf, np.inf], ends).T
        self.begin()

    def begin(self):
        """Forget everything: another task, about which nothing is known."""
        self.state = np.zeros((1, self.about["state_size"]), np.float32)
        self.control = self.offset

    def told(self, **values):
        """Commands by name, as they stand at the end of what the policy sees, (k,)."""
        names = self.about.get("command_names", [])
        if set(values) != set(names):
            raise ValueError(f"this policy is told {', '.join(names) or 'nothing'}; give that, and only that")
        parts = [np.zeros(0)]
        for k, name in enumerate(names):
            scale = np.log if self.about["command_scales"][k] == "log" else np.asarray
            low, high = map(scale, self.about["command_ranges"][k])
            parts.append(np.ravel((scale(values[name]) - (low + high) / 2) / ((high - low) / 2 or 1.0)))
        return np.concatenate(parts).astype(np.float32)

    def act(self, obs, reward=None, episode_start=False, noise=0.0):
        """What to send to the actuators, (m,), for what is seen now, (n,), and what the last step gave.

        `self.action` is the action (m,) that it comes from, with the noise that was asked for.
        """
        if reward is None and self.about.get("reward_input") and self.state.any():
            raise ValueError("this policy learns its task from the reward: give that of the last step")
        values = {
            "obs": [obs],
            "reward": [reward or 0.0],
            "episode_start": [episode_start],
            "state_in": self.state,
        }
        given = {}
        for name, (shape, size) in self.inputs.items():
            array = np.asarray(values[name], np.float32)
            if array.size != size or not np.isfinite(array).all():  # a memory would keep it for good
                raise ValueError(f"{name} has to be {size} finite numbers; nothing is remembered of this")
            given[name] = array.reshape(shape)
        actions, *rest = self.session.run(None, given)
        self.state = rest[0] if rest else self.state
        self.action = actions[0] + noise
        before = self.control if self.about["action_adds"] and not episode_start else self.offset
        self.control = np.clip(before + self.scale * np.clip(self.action, -1, 1), self.low, self.high)
        return self.control
