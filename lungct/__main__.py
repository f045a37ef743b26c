"""``python -m lungct`` is the command ``lungct``."""

from lungct.command import main

if __name__ == "__main__":
    main()
