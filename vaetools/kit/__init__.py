"""Tools for authors of plugins.

new      creates a package with one operation, tests and CI
check    loads a plugin in a separate process and checks its operations
stubs    typed methods of all operations, for type checkers and editors
"""

from vaetools.kit.check import check_plugin
from vaetools.kit.finding import Finding
from vaetools.kit.new import new_plugin

__all__ = ["Finding", "check_plugin", "new_plugin"]
