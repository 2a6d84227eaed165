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
        self.inputs = [i.name for i in self.session.get_inputs()]
        self.dt = self.about["control_dt"]
        self.scale, self.offset = (np.array(self.about[f"action_{k}"]) for k in ("scale", "offset"))
        self.begin()

    def begin(self):
        """Forget everything: another task, about which nothing is known."""
        self.state = np.zeros((1, self.about["state_size"]), np.float32)

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
        given = {name: np.asarray(values[name], np.float32) for name in self.inputs}
        actions, *rest = self.session.run(None, given)
        self.state = rest[0] if rest else self.state
        self.action = actions[0] + noise
        return self.offset + self.scale * np.clip(self.action, -1, 1)
