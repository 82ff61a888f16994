"""Engines that train, prune, quantise, export and evaluate, and the gate. Imports registry only."""
