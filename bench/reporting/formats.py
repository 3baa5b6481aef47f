"""The formats in which the tables of a report are printed."""

FORMATS = ("txt", "md", "tex", "csv", "bib")
"""For a terminal, Markdown, LaTeX, the figures of all cells, and the methods' papers as BibTeX."""
FILES = {"txt": "table.txt", "md": "table.md", "csv": "table.csv", "bib": "references.bib"}
"""The files of a report with these; LaTeX has one for each table."""
TEX = "tex"
"""The folder of the tables as LaTeX."""
