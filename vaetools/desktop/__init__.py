"""Desktop integration by the freedesktop.org specifications: a MIME type, a thumbnailer and a viewer."""

from vaetools.desktop.registration import install, uninstall
from vaetools.desktop.thumbnails import thumbnail

__all__ = ["install", "thumbnail", "uninstall"]
