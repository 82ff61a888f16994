"""Trained networks become ONNX and OpenVINO, are quantised, measured and chosen.

Imports `training.workspace`.
"""
