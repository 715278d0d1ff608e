"""Workbooks (.xlsx) for tests, written part by part, so that a test can write what no spreadsheet program would."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"

DATE, DATE_TIME, TIME, PERCENT, FIVE_DIGITS = range(1, 6)
"""Styles of cells: the number formats 14, 22, 21, 9 and "00000"."""

_STYLES = (
    f'<styleSheet {_MAIN}><numFmts count="1"><numFmt numFmtId="170" formatCode="00000"/></numFmts><cellXfs count="6">'
    + "".join(f'<xf numFmtId="{number}" applyNumberFormat="1"/>' for number in (0, 14, 22, 21, 9, 170))
    + "</cellXfs></styleSheet>"
)

Cell = str | int | float | bool | None | tuple[float, int]
"""Text, a number, a truth value, nothing, or a number with its style; "#N/A" and the like are errors."""


def sheet_xml(rows: Sequence[Sequence[Cell]], *, first: int = 1, merged: str = "", dimension: str = "") -> str:
    """The XML of a sheet whose first row has the number `first`."""
    lines = [
        f'<row r="{number}">{"".join(_cell(number, place, cell) for place, cell in enumerate(row))}</row>'
        for number, row in enumerate(rows, start=first)
    ]
    extent = f'<dimension ref="{dimension}"/>' if dimension else ""
    merges = f'<mergeCells count="1"><mergeCell ref="{merged}"/></mergeCells>' if merged else ""
    return f"<worksheet {_MAIN}>{extent}<sheetData>{''.join(lines)}</sheetData>{merges}</worksheet>"


def write_workbook(path: Path, sheets: Mapping[str, str], *, hidden: Sequence[str] = (), **parts: str) -> Path:
    """Write a workbook.

    Args:
        path: Where.
        sheets: The XML of each sheet, by its name.
        hidden: Names of those that are hidden.
        parts: Further parts, by their names below xl/ without the ending .xml.
    """
    names, states = list(sheets), ("visible", "hidden")
    listed = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="rId{number}" state="{states[name in hidden]}"/>'
        for number, name in enumerate(names, start=1)
    )
    related = "".join(
        f'<Relationship Id="rId{number}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number in range(1, len(names) + 1)
    )
    related += "".join(
        f'<Relationship Id="x{name}" Type="{_OFFICE}/{name}" Target="{name}.xml"/>' for name in ("styles", *parts)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{_TYPES}"/>')
        root = f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{_RELATIONS}">{root}</Relationships>')
        archive.writestr(
            "xl/workbook.xml", f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>'
        )
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{_RELATIONS}">{related}</Relationships>')
        archive.writestr("xl/styles.xml", _STYLES)
        for number, xml in enumerate(sheets.values(), start=1):
            archive.writestr(f"xl/worksheets/sheet{number}.xml", xml)
        for name, xml in parts.items():
            archive.writestr(f"xl/{name}.xml", xml)
    return path


def _cell(row: int, place: int, cell: Cell) -> str:
    if cell is None:
        return ""
    where = f'r="{chr(ord("A") + place)}{row}"'
    if isinstance(cell, tuple):
        return f'<c {where} s="{cell[1]}"><v>{cell[0]}</v></c>'
    if isinstance(cell, bool):
        return f'<c {where} t="b"><v>{int(cell)}</v></c>'
    if isinstance(cell, int | float):
        return f"<c {where}><v>{cell}</v></c>"
    if cell.startswith("#"):
        return f'<c {where} t="e"><v>{cell}</v></c>'
    return f'<c {where} t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
