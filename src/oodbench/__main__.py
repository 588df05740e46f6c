"""python -m oodbench NAME ... is oodbench NAME ..., where no command was installed."""

from oodbench.commands.main import main

if __name__ == "__main__":
    main()
