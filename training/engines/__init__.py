"""The training loops: PyTorch (also for ultralytics' detectors) and Keras.

Imports `training.prune`, `training.export` and `training.workspace`.
"""
