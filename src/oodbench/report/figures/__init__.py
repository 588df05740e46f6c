"""The figures of the report, one file each: pure functions from arrays to data, and from the data to a `Plot`."""
