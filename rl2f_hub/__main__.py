"""`python -m rl2f_hub` is the same as `rl2f`."""

from rl2f_hub.cli import main

if __name__ == "__main__":
    main()
