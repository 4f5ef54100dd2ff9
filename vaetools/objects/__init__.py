"""Runs over object stores: Amazon S3 and what speaks its protocol, and Google Cloud Storage.

    address    URLs as paths
    store      what a store does, its errors, and how often a request is tried
    s3, gs     the stores, on s3fs and gcsfs; imported when a URL names one
    inputs     listings -> sources; the bytes of an object
    outputs    what stands at OUT, and the proof that it is done
    stages     GET -> memory -> PUT
    runner     a run

A run whose OUT is a local folder is a run of `vaetools.runner` that gets its inputs from here.
"""

from __future__ import annotations

from vaetools.objects.runner import run, uses_objects

__all__ = ["run", "uses_objects"]
