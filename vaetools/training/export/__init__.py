"""From a trained network to a model folder: graphs, parity checks, manifest and card."""
