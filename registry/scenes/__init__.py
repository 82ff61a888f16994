"""How starter data is drawn: one kit and one shelf of things, for the `scenes.py` of every model of pictures.

    kit    backdrop (places without objects) · sketch (flat things of polygons and lines) · solids (round things with
           light on them) · colours · camera (lays things into a picture with their shadow, photographs it)
    shelf  everyday · firearms · household

A thing that only one model draws stays in the model's folder. Everything is bit-identical for a generator's state:
`data.dvc` holds the hash of what comes out. Imports `registry.core`, NumPy and OpenCV; no service runs any of it.
"""
