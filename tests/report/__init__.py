"""The report: the page, its previews and charts."""
