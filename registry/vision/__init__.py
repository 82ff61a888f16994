"""What models of pictures share: decoding, statistics, shifts, drawing, videos.

May be imported from everywhere but `core`. Imports `registry.core`, NumPy, OpenCV, PIL and, for videos, PyAV: a service
runs all of it.
"""
