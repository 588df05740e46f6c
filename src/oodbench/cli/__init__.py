"""The command line of train.py: composed, checked and planned before anything starts. torch is imported where a run
is not finished, and for nothing else."""
