"""Runs that others can check: copies without outputs, their checks, the registry and its leaderboard."""
