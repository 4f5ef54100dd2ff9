"""Desktop integration by the freedesktop.org specifications: a MIME type and a thumbnailer."""

from vaetools.desktop.registration import install, uninstall
from vaetools.desktop.thumbnails import thumbnail

__all__ = ["install", "thumbnail", "uninstall"]
