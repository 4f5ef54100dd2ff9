"""For those who write plugins: a package to start from, and a check that runs what they wrote.

new      a package with one operation, its tests and its CI
check    a plugin in a process of its own: does it load, and do its operations keep their promises?
stubs    typed methods of all operations, for type checkers and editors
"""

from vaetools.kit.check import check_plugin
from vaetools.kit.finding import Finding
from vaetools.kit.new import new_plugin

__all__ = ["Finding", "check_plugin", "new_plugin"]
