"""Training, export and import of models: the only part of vaetools that uses torch.

Nothing else imports this package; the `train` and `export` commands do so inside their functions.
"""
