"""``python -m benchmarks``."""

from benchmarks._report import main

if __name__ == "__main__":
    main()
