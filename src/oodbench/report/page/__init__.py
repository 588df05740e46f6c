"""The page: its template, style and script, and what they are filled with."""
