"""Write the files of a report from the figures of an analysis."""
