"""What every stage needs: its folders and parameters, checkpoints, scores, and what a training starts from.

Imports no other room of this package.
"""
