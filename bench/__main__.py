"""Let `python -m bench` be the command `bench`."""

from bench.cli import main

if __name__ == "__main__":
    main()
