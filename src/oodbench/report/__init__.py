"""The report: finished runs -> one HTML file without network, and the same figures as vector files for papers."""
