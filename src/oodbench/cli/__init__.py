"""The command line of train.py: composed, checked and planned before anything starts. Nothing here imports torch."""
