"""The report of a run: an HTML page with a viewer, and a contact sheet.

    links      URLs relative to the page
    store      where previews go: into the page, or into a folder next to it
    previews   images that browsers can display, of inputs and outputs
    charts     histograms as numbers
    rows       a record as the table shows it
    sheet      the contact sheet, a PNG image
    page       all together, as text in pieces

The runner writes the files: see `vaetools.runner.report`.
"""
