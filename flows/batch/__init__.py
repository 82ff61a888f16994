"""Features of many pictures: a listing is cut into slices, each slice becomes one Parquet part.

`slices.featurize_slice` is the whole work on one slice and knows nothing of who calls it: `local` runs it in threads
of this process; a cluster's engine can run the same function over the same plan.
"""
