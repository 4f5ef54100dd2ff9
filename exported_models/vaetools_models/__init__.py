"""The models that come with vaetools: one folder each, data only."""
