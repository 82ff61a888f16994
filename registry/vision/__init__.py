"""What models of pictures share: decoding, statistics, shifts, drawing, starter-data scenes, explanations.

Everything here runs in a service as well, so it needs NumPy, OpenCV and PIL's header readers only.
"""
