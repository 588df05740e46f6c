"""What scripts/bench.py, growth.py and equivalence.py are made of."""
