import sys

from monitoring.checks.validate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
