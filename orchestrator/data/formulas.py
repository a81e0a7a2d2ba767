"""Keep a spreadsheet from computing what a CSV only quotes."""

STARTS = ("=", "+", "-", "@", "\t", "\r")


def inert(cell: str) -> str:
    """Return a cell with an apostrophe before what a spreadsheet would take for a formula.

    Texts and headers come from anybody. A number, whatever its sign, is no formula. OWASP, "CSV
    Injection", https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{cell}" if cell.startswith(STARTS) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
