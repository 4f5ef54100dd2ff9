"""Plugins: the hooks that they implement, and the host that loads them one by one."""
