"""The folder of a run: its identity, files, record, lock and status, and what a run prints."""
