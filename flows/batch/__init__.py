"""Features of many pictures: a listing is cut into slices, and each slice becomes one Parquet part.

`slices.featurize_slice` does all the work on one slice. `local` runs it in threads of this process; a cluster can run
the same function over the same plan.

Imports no other room of this package.
"""
