pytest_plugins = ["vaetools.testing"]
