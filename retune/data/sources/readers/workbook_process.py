"""Reads a workbook in a process of its own: run as a program, with nothing of Retune imported.

calamine holds a whole sheet in memory, as large as its farthest cell says, and aborts the process where there isn't so
much. Here the system's limits end it, and whoever started it lives on.

    python -P workbook_process.py MEGABYTES SECONDS [SHEET] < book.xlsx

The first line of its output says how much the file unpacks to; the second is an object that describes the workbook
(`error`, or `sheet`, `others`, `merged` and `faults`); each further one is a row that isn't empty: its number and the
text of its cells.
"""

import html
import json
import re
import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import Any

import python_calamine as calamine

_MOST_OTHERS = 20
_LARGEST_EXACT = 1e15
_PIECE_BYTES = 1 << 20
_FORMULA = rb"(?:<f[^>]*/>|<f[^>]*>[^<]*</f>)"
_FAULTS = {
    "errors": re.compile(rb'<c\s(?=[^>]*\bt="e")[^>]*\br="([A-Z]+\d+)"[^>]*>%s?<v>([^<]*)</v>' % _FORMULA),
    "formulas": re.compile(rb'<c\s[^>]*\br="([A-Z]+\d+)"[^>]*>(%s)(?:<v\s*/>|<v></v>)?</c>' % _FORMULA),
}


def main() -> None:
    """Write the rows of a sheet."""
    megabytes, seconds, *wanted = sys.argv[1:]
    _limit(int(megabytes) << 20, int(seconds))
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=False)  # type: ignore[union-attr]  # it is a TextIOWrapper
    try:
        _write(_unpacked_bytes())
        sys.stdout.flush()
        book = calamine.CalamineWorkbook.from_filelike(sys.stdin.buffer)
        head, sheet = _choose(book, wanted[0] if wanted else None)
    except calamine.PasswordError:
        head, sheet = {"error": "password"}, None
    except (calamine.CalamineError, OSError, ValueError) as error:
        head, sheet = {"error": str(error) or type(error).__name__}, None
    except MemoryError:
        head, sheet = {"error": "memory"}, None
    _write(head)
    for row in _rows(sheet) if sheet is not None else ():
        _write(row)
    sys.stdout.flush()


def _limit(n_bytes: int, seconds: int) -> None:
    """Limit what this process may take, beside what Python has already."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    # Where a system doesn't know this limit, the others hold.
    with suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123
        n_bytes += int(stream.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))


def _choose(book: Any, wanted: str | None) -> tuple[dict[str, Any], Any]:
    """The sheet to read: the one that was named, else the first that is shown and has anything in it."""
    names = [
        item.name
        for item in book.sheets_metadata
        if item.typ == calamine.SheetTypeEnum.WorkSheet
        and (item.visible == calamine.SheetVisibleEnum.Visible or item.name == wanted)
    ]
    if wanted is not None and wanted not in names:
        return {"error": "sheet", "sheets": names[:_MOST_OTHERS]}, None
    chosen: Any = None
    others: list[list[Any]] = []
    for name in sorted(names, key=lambda name: name != wanted) if wanted else names:
        sheet = book.get_sheet_by_name(name) if len(others) < _MOST_OTHERS else None
        if chosen is None and sheet is not None and (sheet.height or name == wanted):
            chosen = sheet
        elif sheet is not None and sheet.height:
            others.append([name, sheet.height])
    if chosen is None:
        return {"error": "empty"}, None
    merged = [
        [first[0] + 1, first[1] + 1, last[0] + 1, last[1] + 1]
        for first, last in (chosen.merged_cell_ranges or ())[:1000]
    ]
    return {"sheet": chosen.name, "others": others, "merged": merged, "faults": _faults(chosen.name)}, chosen


def _faults(sheet: str) -> dict[str, list[Any]]:
    """Cells of an xlsx that calamine gives as empty ones: how many, the first, and what it holds."""
    faults: dict[str, list[Any]] = {}
    with suppress(zipfile.BadZipFile, KeyError), zipfile.ZipFile(sys.stdin.buffer) as archive:
        content = b""
        with archive.open(_part_of(archive, sheet)) as stream:
            while piece := stream.read(_PIECE_BYTES):
                content += piece
                end = content.rfind(b"</row>") + 1 or len(content)
                for kind, pattern in _FAULTS.items():
                    for found in pattern.finditer(content, 0, end):
                        cell = found[1].decode(errors="replace")
                        faults.setdefault(kind, [0, cell, found[2].decode(errors="replace")])[0] += 1
                content = content[end:]
    sys.stdin.buffer.seek(0)
    return faults


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """Where in the archive a sheet is.

    Raises:
        KeyError: It is in none that is known.
    """
    book = archive.read("xl/workbook.xml").decode(errors="replace")
    related = archive.read("xl/_rels/workbook.xml.rels").decode(errors="replace")
    ids = {
        html.unescape(_attribute(tag, "name")): _attribute(tag, "r:id") for tag in re.findall(r"<sheet\s[^>]*>", book)
    }
    targets = {
        _attribute(tag, "Id"): _attribute(tag, "Target") for tag in re.findall(r"<Relationship\s[^>]*>", related)
    }
    target = targets[ids[sheet]]
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'\s{name}="([^"]*)"', tag)
    return found[1] if found else ""


def _unpacked_bytes() -> int:
    total = 0
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(sys.stdin.buffer) as archive:
        total = sum(item.file_size for item in archive.infolist())
    sys.stdin.buffer.seek(0)
    return total


def _rows(sheet: Any) -> Iterator[list[Any]]:
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells = [_text(cell) for cell in row]
        while cells and not cells[-1].strip():
            cells.pop()
        if cells:
            yield [number, cells]


def _text(cell: object) -> str:
    """A cell's text, as a spreadsheet shows it in its plainest format."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < _LARGEST_EXACT else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ", timespec="seconds")
    return cell.isoformat() if isinstance(cell, date | time) else str(cell) if isinstance(cell, timedelta | int) else ""


def _write(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
