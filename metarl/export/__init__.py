"""Policies that leave the process they were trained in: as ONNX, for a robot or a page in a browser."""
