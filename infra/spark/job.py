"""What spark-submit runs, e.g. on EMR Serverless: a batch command of visionloop with `--engine spark`.

    spark-submit infra/spark/job.py featurize s3://BUCKET/pictures --out s3://BUCKET/features --bundle FOLDER

Master and Spark's settings are spark-submit's. docs/batch.md says how the environment is packed.
"""

import sys

from flows.cli import execute

COMMANDS = ("featurize", "predict-batch")

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in COMMANDS:
        sys.exit(f"found {arguments[:1]}\n  expected: {' or '.join(COMMANDS)}, with its arguments")
    # spark-submit takes any exit code but 0 for a failed job.
    sys.exit(execute([*arguments, "--engine", "spark"]))
