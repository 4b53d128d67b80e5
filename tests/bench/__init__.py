"""Measuring instruments: commands that print a report. They are no tests and time nothing in CI."""
