"""The commands: arguments in, library called. `oodbench NAME` and `python scripts/NAME.py` are the same."""
