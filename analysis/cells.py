"""The four cells of what is encoded and what is said: names alone, which tables, figures and examples share."""

CELLS = ("encoded and said", "encoded, not said", "not encoded, said", "neither")
KEYS = tuple(cell.replace(",", "").replace(" ", "_") for cell in CELLS)
"""The cells as names of columns, in the order of ``CELLS``."""
