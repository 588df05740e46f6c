"""The figures of the report, a file each: pure functions from arrays to data, and from the data to a `Plot`."""
