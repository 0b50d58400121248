"""``python -m onelook`` is the command line."""

from onelook.cli import main

if __name__ == "__main__":
    main()
