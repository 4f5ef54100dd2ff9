"""The plugins that come with vaetools. They use public names of vaetools only, as any plugin may."""
