"""Tear sheets as files: one page of HTML, A4 pages, a workbook, JSON; all from one `TearSheet`.

`tables` and `figures` say what is shown, `formats` and `scales` how it reads, `charts` and `html`
make the page, `paper`, `paper_tables` and `pdf` the document, `excel` the workbook, `writing` the files.
"""

from pipelines.tearsheet.writing import RENDERERS, write_tear_sheet

__all__ = ["RENDERERS", "write_tear_sheet"]
